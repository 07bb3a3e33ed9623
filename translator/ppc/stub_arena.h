// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "translator/ppc/stub.h"
#include "translator/ppc/verify.h"

namespace untrap::ppc {

// A piece of effective address space full of stubs, and the way back from it. Memory is the host's: words as the CPU
// fetches them, and a restart entry per granule. A stub has whole granules; unused ones hold illegal instructions, so a
// guest that jumps there of its own will is found out by find(). What is added or removed is visible to the CPU only
// after the host has cleaned the data cache and invalidated the instruction cache for it.
class StubArena {
  public:
    static constexpr unsigned granule_words = 16, granule_bytes = 4 * granule_words;

    // granules * granule_bytes at ea, which is a multiple of granule_bytes. Everything in it goes.
    void start(std::uint32_t ea, std::uint32_t* words, Restart* restarts, unsigned granules);

    enum class Result : std::uint8_t {
        made,
        no_stub,      // the program is no stub (shape_of)
        no_room,      // remove some
        out_of_reach, // the site needs another arena
        flawed,       // the verifier refused it, see flaw(): a defect of the emitter
    };
    struct Made {
        Result result = Result::no_stub;
        std::uint32_t stub = 0;      // address
        std::uint32_t bytes = 0;     // of code
        std::uint32_t site_word = 0; // takes the place of the original instruction
    };
    // Makes, verifies and installs the stub for one site.
    Made add(const plan::Patch& patch, std::uint32_t original, std::uint32_t site, Registers dead);
    // The same for an access to a process's memory (access_stub.h).
    Made add_access(std::uint32_t original, unsigned group, std::uint32_t site);
    // Frees the stub at this address; no patched word may lead there any more. False if there is none.
    bool remove(std::uint32_t stub);

    bool holds(std::uint32_t ea) const { return ea - ea_ < granules_ * granule_bytes; }
    // The stub that ea is a word of, nullptr if it is none's.
    const Restart* find(std::uint32_t ea, unsigned& index) const;
    // The instruction of the site that this entry, of an access, is for; `ea` as for find().
    std::uint32_t original(const Restart& restart, std::uint32_t ea, unsigned index) const {
        return words_[(ea - ea_) / 4 - index + restart.line];
    }
    // If the guest's CPU stopped in a stub: rewrites its registers to the guest's. False, and nothing changed, if it is
    // not in a stub. page: as the guest left it.
    bool restore(isa::CpuState& state, const isa::StatePage& page) const;

    std::uint32_t ea() const { return ea_; }
    unsigned granules() const { return granules_; }
    unsigned used() const { return used_; }   // granules
    unsigned stubs() const { return stubs_; } // that are installed
    Flaw flaw() const { return flaw_; }

  private:
    template <typename Emit, typename Verify>
    Made make(std::uint32_t site, Emit&& emit, Verify&& verify_stub);
    static unsigned granules_of(unsigned length) { return (length + granule_words - 1) / granule_words; }
    bool find_room(unsigned count, unsigned& first) const;

    std::uint32_t ea_ = 0;
    std::uint32_t* words_ = nullptr;
    Restart* restarts_ = nullptr;
    unsigned granules_ = 0, used_ = 0, stubs_ = 0;
    unsigned next_ = 0; // where the search for room begins
    Flaw flaw_ = Flaw::none;
};

static_assert(Stub::max_words % StubArena::granule_words == 0);

} // namespace untrap::ppc
