// SPDX-License-Identifier: GPL-2.0-only
#include "translator/ppc/stub_arena.h"

#include "translator/ppc/access_stub.h"

namespace untrap::ppc {

void StubArena::start(std::uint32_t ea, std::uint32_t* words, Restart* restarts, unsigned granules) {
    ea_ = ea;
    words_ = words;
    restarts_ = restarts;
    granules_ = granules;
    used_ = stubs_ = next_ = 0;
    flaw_ = Flaw::none;
    for (unsigned word = 0; word < granules * granule_words; ++word) words_[word] = 0;
    for (unsigned granule = 0; granule < granules; ++granule) restarts_[granule] = {};
}

bool StubArena::find_room(unsigned count, unsigned& first) const {
    unsigned run = 0;
    // Once around, and a little further for a run that begins before the starting point.
    for (unsigned step = 0; step < granules_ + count; ++step) {
        const unsigned granule = (next_ + step) % granules_;
        if (granule == 0) run = 0;
        run = restarts_[granule].length == 0 ? run + 1 : 0;
        if (run == count) {
            first = granule + 1 - count;
            return true;
        }
    }
    return false;
}

template <typename Emit, typename Verify>
StubArena::Made StubArena::make(std::uint32_t site, Emit&& emit, Verify&& verify_stub) {
    Made made;
    if (granules_ == 0) {
        made.result = Result::no_room;
        return made;
    }
    // Its length does not depend on where it stands: a first run tells it.
    Stub stub;
    unsigned first = next_ % granules_;
    for (unsigned pass = 0; pass < 2; ++pass) {
        made.stub = ea_ + first * granule_bytes;
        switch (emit(made.stub, stub)) {
        case Emitted::done: break;
        case Emitted::no_stub: return made;
        case Emitted::out_of_reach: made.result = Result::out_of_reach; return made;
        }
        if (pass == 0 && !find_room(granules_of(stub.restart.length), first)) {
            made.result = Result::no_room;
            return made;
        }
    }
    const unsigned count = granules_of(stub.restart.length);
    made.bytes = stub.restart.length * 4U;
    flaw_ = verify_stub(made.stub, stub);
    if (flaw_ == Flaw::none && !branch_to_stub(site, made.stub, made.site_word)) flaw_ = Flaw::branch;
    if (flaw_ != Flaw::none) {
        made.result = Result::flawed;
        return made;
    }
    std::uint32_t* const words = words_ + first * granule_words;
    for (unsigned index = 0; index < stub.restart.length; ++index) words[index] = stub.words[index];
    for (unsigned index = 0; index < count; ++index) {
        restarts_[first + index] = stub.restart;
        restarts_[first + index].continuation = static_cast<std::uint8_t>(index);
    }
    used_ += count;
    ++stubs_;
    next_ = first + count;
    made.result = Result::made;
    return made;
}

StubArena::Made StubArena::add(const plan::Patch& patch, std::uint32_t original, std::uint32_t site, Registers dead) {
    return make(
        site, [&](std::uint32_t at, Stub& stub) { return emit_stub(patch, original, site, at, dead, stub); },
        [&](std::uint32_t at, const Stub& stub) {
            return verify(stub.words.data(), at, stub.restart, original, dead);
        });
}

StubArena::Made StubArena::add_access(std::uint32_t original, unsigned group, std::uint32_t site) {
    return make(
        site, [&](std::uint32_t at, Stub& stub) { return emit_access_stub(original, group, site, at, stub); },
        [&](std::uint32_t at, const Stub& stub) {
            return verify_access(stub.words.data(), at, stub.restart, original);
        });
}

bool StubArena::remove(std::uint32_t stub) {
    unsigned index = 0;
    const Restart* const restart = find(stub, index);
    if (restart == nullptr || index != 0) return false;
    const unsigned first = (stub - ea_) / granule_bytes, count = granules_of(restart->length);
    for (unsigned granule = first; granule < first + count; ++granule) restarts_[granule] = {};
    for (unsigned word = first * granule_words; word < (first + count) * granule_words; ++word) words_[word] = 0;
    used_ -= count;
    --stubs_;
    return true;
}

const Restart* StubArena::find(std::uint32_t ea, unsigned& index) const {
    if (!holds(ea)) return nullptr;
    const unsigned granule = (ea - ea_) / granule_bytes;
    const Restart& restart = restarts_[granule];
    index = restart.continuation * granule_words + (ea - ea_) % granule_bytes / 4;
    return index < restart.length ? &restart : nullptr;
}

bool StubArena::restore(isa::CpuState& state, const isa::StatePage& page) const {
    unsigned index = 0;
    const Restart* const restart = find(state.pc, index);
    if (restart == nullptr) return false;
    ppc::restore(state, *restart, index, page);
    return true;
}

} // namespace untrap::ppc
