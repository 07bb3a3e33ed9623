// SPDX-License-Identifier: GPL-2.0-only
// The JIT against the interpreter while everything around the code changes: guest TLB entries word by word, PID, MSR,
// several views of the same memory, code written by the guest and by devices.
#include <catch2/catch_test_macros.hpp>

#include "optimisation_cases.h"
#include "run_random.h"
#include "runtime/byte_order.h"

namespace {

using namespace untrap;
using namespace untrap::tests;
using mmu::TlbEntry;

// A guest TLB entry of the test: the addresses it may map. No two of these match the same address at once, which
// would be an error of the guest with an open outcome.
struct Window {
    enum class Holds { code, data, code_writable } holds;
    std::uint32_t ea;
    unsigned largest; // SIZE field
    unsigned space;
    std::uint8_t tid;
};

constexpr std::uint32_t code_base = 0x10000000, code_end = 0x10030000;
constexpr std::uint32_t data_base = 0x20000000;
// A page each, in the same software TLB slot, and not where the sum of two addresses of code or data may lie: a store
// that gets there without the isync of write_code() has an open outcome.
constexpr std::uint32_t writable_code[] = {0x7A000000, 0x7A400000};
constexpr unsigned size_1k = 0, size_4k = 1, size_64k = 3, size_1m = 5, size_16m = 7;
constexpr unsigned alias_register = 29, word_register = 28;
constexpr unsigned code_frames = Layout::code_bytes / 0x1000 - 1;
// The last frame holds a store into code for rewrite_executed_code(), mapped for good.
constexpr std::uint32_t poke_code = 0x50000000;
constexpr unsigned poke_index = 63;

std::vector<Window> windows() {
    using enum Window::Holds;
    std::vector<Window> list;
    const auto add = [&](Window::Holds holds, std::uint32_t ea, unsigned largest, unsigned space,
                         std::initializer_list<std::uint8_t> tids) {
        for (const std::uint8_t tid : tids) list.push_back({holds, ea, largest, space, tid});
    };
    add(code, code_base, size_64k, 0, {0});
    add(code, code_base, size_64k, 1, {0});
    add(code, code_base + 0x10000, size_64k, 0, {1, 2, 3});
    add(code, code_base + 0x10000, size_64k, 1, {1, 2});
    add(code, code_base + 0x20000, size_4k, 0, {0});
    add(code, code_base + 0x21000, size_4k, 0, {0});
    add(code, code_base + 0x22000, size_4k, 0, {1, 2});
    add(code, code_base + 0x23000, size_4k, 0, {0});
    add(code, code_base + 0x24000, size_4k, 0, {1});
    add(code, code_base + 0x25000, size_4k, 0, {0});
    for (std::uint32_t page = 0; page < 8; ++page) add(data, data_base + page * 0x1000, size_4k, 0, {0});
    for (std::uint32_t page = 8; page < 12; ++page) add(data, data_base + page * 0x1000, size_4k, 0, {1, 2});
    add(data, data_base + 0x10000, size_64k, 0, {0});
    add(data, data_base + 0x20000, size_64k, 0, {1, 2, 3});
    add(data, data_base + 0x30000, size_64k, 0, {0});
    add(data, data_base + 0x100000, size_1m, 0, {0});
    add(data, data_base + 0x200000, size_1m, 0, {1, 2});
    add(data, 0x30000000, size_16m, 0, {0});
    add(data, data_base, size_64k, 1, {0});
    add(data, data_base + 0x10000, size_64k, 1, {1, 2, 3});
    add(data, data_base + 0x100000, size_1m, 1, {0});
    for (const std::uint32_t ea : writable_code)
        for (const unsigned space : {0U, 1U}) add(code_writable, ea, size_4k, space, {0});
    REQUIRE(list.size() <= poke_index);
    return list;
}

class World {
  public:
    World(std::uint64_t salt, std::size_t cache_bytes, x64::Optimisations optimisations = translating_at_once)
        : random_(seeded_random(salt)), pair_(std::make_unique<Pair>(cache_bytes, optimisations)), windows_(windows()),
          use_(RegisterUse::random(random_, 1U << alias_register | 1U << word_register)), generator_(random_, use_) {
        for (unsigned frame = 0; frame < code_frames; ++frame) write_code(frame, 0, 1024);
        for (auto* bytes : {&pair_->reference.data, &pair_->reference.rom, &pair_->reference.high})
            for (auto& byte : *bytes) byte = static_cast<std::uint8_t>(random_.word());
        pair_->jit.data = pair_->reference.data;
        pair_->jit.rom = pair_->reference.rom;
        pair_->jit.high = pair_->reference.high;
        put_code(code_frames, 0, match(isa::Op::stw) | field_rt(word_register) | field_ra(alias_register));
        put_code(code_frames, 1, match(isa::Op::isync));
        set_entry(poke_index, small_page(poke_code, Layout::code + code_frames * 0x1000, TlbEntry::sx));
        for (unsigned index = 0; index < windows_.size(); ++index) {
            set_entry(index, random_entry(index));
        }
    }

    void run(std::uint64_t goal) {
        for (std::uint64_t number = 0; pair_->executed() < goal; ++number) {
            new_registers();
            const std::string context = "round " + std::to_string(number);
            run_in_pieces(*pair_, random_, random_.between(20, 300), context, [&] {
                if (random_.chance(25)) disturb();
            });
            for (unsigned events = random_.below(4); events != 0; --events) disturb();
            if (random_.chance(40)) pair_->compare_memory(context);
        }
        pair_->compare_memory("the end");
    }

  private:
    static TlbEntry small_page(std::uint32_t ea, std::uint64_t real, std::uint32_t attributes) {
        return {.word0 = ea | TlbEntry::valid_bit | size_4k << 4,
                .word1 = static_cast<std::uint32_t>(real),
                .word2 = attributes};
    }

    void set_entry(unsigned index, const TlbEntry& entry) {
        pair_->both([&](Machine& machine) { machine.vcpu().set_tlb_entry(index, entry); });
    }

    // An address where window index may be mapped, good or not at this moment.
    std::uint32_t random_address(Window::Holds holds) {
        for (;;) {
            const Window& window = random_.any(windows_);
            if (window.holds != holds) continue;
            const std::uint32_t bytes = window.largest >= size_64k ? 0x10000 : 0x1000;
            return window.ea + random_.below(bytes);
        }
    }

    std::uint32_t random_pointer() {
        std::uint32_t address = random_address(Window::Holds::data);
        if (random_.chance(15)) address = (address & ~0xFFFU) + 0x1000 - random_.below(24);
        return random_.chance(60) ? address & ~3U : address;
    }

    // What entry index may hold: usually something useful, in part of its window.
    TlbEntry random_entry(unsigned index) {
        const Window& window = windows_[index];
        TlbEntry entry;
        unsigned size = random_.chance(50) ? window.largest : random_.between(size_1k, window.largest);
        if (size == size_1k && random_.chance(60)) size = size_4k;
        if (size == 6) size = 5; // reserved code
        std::uint32_t ea = window.ea;
        // Small pages lie somewhere in the first 64 KB.
        if (size < size_64k && window.largest >= size_64k) ea += random_.below(0x10000) & ~((0x400U << 2 * size) - 1);
        if (size == size_1k && window.largest == size_4k) ea += random_.below(4) * 0x400;
        entry.word0 = ea | size << 4 | (window.space != 0 ? TlbEntry::ts_bit : 0) |
                      (random_.chance(93) ? TlbEntry::valid_bit : 0);
        entry.tid = window.tid;
        const std::uint64_t real = random_real(window.holds);
        entry.word1 = static_cast<std::uint32_t>(real) | static_cast<std::uint32_t>(real >> 32);
        entry.word2 = random_.word() & (TlbEntry::attr_w | TlbEntry::attr_i | TlbEntry::attr_m | TlbEntry::attr_g);
        if (random_.chance(8)) entry.word2 |= TlbEntry::attr_e;
        std::uint32_t useful = TlbEntry::ur | TlbEntry::sr;
        if (window.holds == Window::Holds::code) useful |= TlbEntry::ux | TlbEntry::sx;
        if (window.holds != Window::Holds::code) useful |= TlbEntry::uw | TlbEntry::sw;
        if (random_.chance(20)) useful &= random_.word();
        entry.word2 |= useful;
        return entry;
    }

    std::uint64_t random_real(Window::Holds holds) {
        if (holds != Window::Holds::data) return Layout::code + random_.below(code_frames) * 0x1000;
        switch (random_.below(16)) {
        case 0: return Layout::rom + random_.below(4) * 0x1000;
        case 1: return Layout::hole + random_.below(64) * 0x1000;
        case 2:
        case 3: return Layout::high + random_.below(16) * 0x1000;
        case 4: return Layout::data + random_.below(Layout::data_bytes / 0x400) * 0x400;
        default: return Layout::data + random_.below(64) * 0x1000;
        }
    }

    // Where stores of the code under test go: never to where their isync is.
    static constexpr bool written_by_code(unsigned position) { return position % 8 < 4; }

    // Random code, with stores into code here and there. Such a store is followed by isync: without one it is open
    // when the new instruction is seen. That pair is never broken up.
    void write_code(unsigned frame, unsigned first, unsigned count) {
        for (unsigned position = first; position < first + count && position < 1024; ++position) {
            if (position != 0 && isa::decode(code_word(frame, position - 1)).op == isa::Op::stw &&
                isa::decode(code_word(frame, position - 1)).ra() == alias_register)
                continue;
            if (random_.chance(6) && position + 1 < 1024 && !written_by_code(position + 1)) {
                put_code(frame, position + 1, match(isa::Op::isync));
                put_code(frame, position,
                         match(isa::Op::stw) | field_rt(word_register) | field_ra(alias_register) |
                             (random_.below(128) * 8 + random_.below(4)) * 4);
                continue;
            }
            std::uint32_t word = generator_.instruction(position, 1024);
            // Branches as in a function of ordinary size.
            const isa::Instruction insn = isa::decode(word);
            if (insn.info().form == isa::Form::b || insn.info().form == isa::Form::i)
                word = generator_.encode(insn.op, position & 63, 64);
            put_code(frame, position, word);
        }
    }

    std::uint32_t code_word(unsigned frame, unsigned position) {
        return static_cast<std::uint32_t>(
            runtime::load_big_endian(&pair_->reference.code[frame * 0x1000 + position * 4], 4));
    }

    void put_code(unsigned frame, unsigned position, std::uint32_t word) {
        const std::uint64_t real = Layout::code + frame * 0x1000 + position * 4;
        pair_->both([&](Machine& machine) { machine.write_word(real, word); });
    }

    void new_registers() {
        isa::CpuState state = random_state(random_, use_, [&] { return random_pointer(); });
        state.gpr[alias_register] = random_.any(writable_code);
        state.gpr[word_register] = generator_.instruction(random_.below(64), 64);
        state.page.msr = random_msr(random_, 20);
        state.page.pid = random_.below(4);
        state.lr = random_address(Window::Holds::code);
        state.pc = code_address();
        const isa::CpuState& old = pair_->reference.state();
        state.retired = old.retired;
        state.page.mmucr = old.page.mmucr;
        pair_->both([&](Machine& machine) { machine.set_state(state); });
    }

    // Mostly near the start of a page, so that the same blocks are met again, or near its end, to cross it.
    std::uint32_t code_address() {
        const std::uint32_t address = code_base + random_.below((code_end - code_base) / 4) * 4;
        if (random_.chance(20)) return address | (0xFFC - random_.below(8) * 4);
        return random_.chance(70) ? (address & ~0xFFFU) + random_.below(8) * 0x40 : address;
    }

    // Something that is no instruction of the code under test happens.
    void disturb() {
        switch (random_.below(12)) {
        case 0:
        case 1:
        case 2: rewrite_entry(); break;
        case 3: {
            const std::uint32_t pid = random_.below(4);
            pair_->both([&](Machine& machine) { machine.vcpu().set_pid(pid); });
            break;
        }
        case 4: {
            const std::uint32_t msr = random_msr(random_, 20);
            pair_->both([&](Machine& machine) { machine.vcpu().set_msr(msr); });
            break;
        }
        case 5: write_code(random_.below(code_frames), random_.below(1024), random_.between(1, 6)); break;
        case 6: device_write(); break;
        case 7: {
            const std::uint32_t pc = code_address();
            pair_->both([&](Machine& machine) { machine.state().pc = pc; });
            break;
        }
        case 8: { // back to where much happened before
            const std::uint32_t pc = code_base + random_.below(16) * 0x1000 + random_.below(4) * 0x40;
            pair_->both([&](Machine& machine) { machine.state().pc = pc; });
            break;
        }
        case 9:
            if (random_.chance(20)) pair_->both([](Machine& machine) { machine.engine().flush(); });
            break;
        case 10:
            switch (random_.below(4)) {
            case 0: resize_entry(); break;
            case 1: rewrite_executed_code(); break;
            default: touch_entry(); break;
            }
            break;
        default: {
            const std::uint32_t alias = random_.any(writable_code),
                                word = generator_.instruction(random_.below(64), 64);
            pair_->both([&](Machine& machine) {
                machine.state().gpr[alias_register] = alias;
                machine.state().gpr[word_register] = word;
            });
        }
        }
    }

    // tlbwe of an entry: one to three of its words, in any order, code running in between or not.
    void rewrite_entry() {
        const unsigned index = random_.below(static_cast<unsigned>(windows_.size()));
        const TlbEntry entry = random_entry(index);
        const std::uint32_t control = entry.tid | (random_.chance(50) ? isa::mmucr::sts : 0);
        const std::uint32_t words[] = {entry.word0, entry.word1, entry.word2};
        const unsigned count = random_.pick<unsigned>({1, 3, 3, 3}), first = random_.below(3);
        for (unsigned i = 0; i < count; ++i) {
            const unsigned ws = (first + i) % 3;
            pair_->both([&](Machine& machine) {
                machine.state().page.mmucr = control;
                machine.vcpu().write_tlb_word(index, ws, words[ws]);
            });
            if (random_.chance(15)) run_in_pieces(*pair_, random_, random_.between(1, 20), "between two tlbwe");
        }
    }

    // An entry is dropped and comes back as it was, or with one permission or attribute changed.
    void touch_entry() {
        const unsigned index = random_.below(static_cast<unsigned>(windows_.size()));
        TlbEntry entry = pair_->reference.vcpu().tlb.entry(index);
        if (random_.chance(50)) {
            entry.word2 ^= random_.pick<std::uint32_t>(
                {TlbEntry::ux, TlbEntry::uw, TlbEntry::ur, TlbEntry::sx, TlbEntry::sw, TlbEntry::sr, TlbEntry::attr_e});
            if (windows_[index].holds == Window::Holds::code) entry.word2 &= ~(TlbEntry::uw | TlbEntry::sw);
        } else {
            entry.word0 ^= TlbEntry::valid_bit;
        }
        set_entry(index, entry);
    }

    // Code crosses from one page into the next under one entry; then only the first page stays mapped as it was.
    void resize_entry() {
        const unsigned index = random_.below(2);
        TlbEntry entry = pair_->reference.vcpu().tlb.entry(index);
        if (!entry.valid() || entry.page_shift() < 14) entry = random_entry(index);
        if (!entry.valid() || entry.page_shift() < 14) return;
        entry.word2 |= TlbEntry::sx;
        entry.word2 &= ~TlbEntry::attr_e;
        set_entry(index, entry);
        const std::uint32_t inside = random_.below(1U << (entry.page_shift() - 12)) << 12;
        const std::uint32_t pc = entry.epn() + inside + 0xFFC - random_.below(8) * 4;
        const std::uint32_t msr = isa::msr::fp | (windows_[index].space != 0 ? isa::msr::is : 0);
        const auto execute = [&] {
            pair_->both([&](Machine& machine) {
                machine.state().pc = pc;
                machine.vcpu().set_msr(msr);
            });
            pair_->run(12, "across a page end");
        };
        for (unsigned times = random_.between(1, 3); times != 0; --times) execute();
        TlbEntry small = small_page(entry.epn() + inside, entry.rpn() + inside, entry.word2);
        small.word0 |= entry.word0 & TlbEntry::ts_bit;
        set_entry(index, small);
        execute();
        if (random_.chance(50)) set_entry(index, entry);
    }

    // The same code is executed and rewritten by turns, through two views that share a slot of a software TLB.
    void rewrite_executed_code() {
        const unsigned frame = random_.below(code_frames), position = random_.below(1016);
        const auto index_of = [&](std::uint32_t ea) {
            unsigned index = 0;
            while (windows_[index].ea != ea || windows_[index].space != 0) ++index;
            return index;
        };
        constexpr std::uint32_t executed = code_base + 0x20000;
        constexpr std::uint32_t rw = TlbEntry::sr | TlbEntry::sw;
        set_entry(index_of(executed), small_page(executed, Layout::code + frame * 0x1000, TlbEntry::sx));
        set_entry(index_of(writable_code[0]), small_page(writable_code[0], Layout::code + frame * 0x1000, rw));
        set_entry(index_of(writable_code[1]),
                  small_page(writable_code[1], Layout::code + random_.below(code_frames) * 0x1000, rw));
        if (random_.chance(60)) pair_->both([](Machine& machine) { machine.engine().flush(); });
        for (unsigned turns = random_.between(3, 8); turns != 0; --turns) {
            const bool poke = random_.chance(60);
            // Never to where a store's isync is.
            const std::uint32_t target = random_.any(writable_code) + ((position & ~7U) + random_.below(4)) * 4;
            const std::uint32_t word = generator_.instruction(position & 63, 64);
            pair_->both([&](Machine& machine) {
                machine.vcpu().set_msr(isa::msr::fp);
                machine.state().pc = poke ? poke_code : executed + (position & ~7U) * 4;
                machine.state().gpr[alias_register] = poke ? target : writable_code[0];
                machine.state().gpr[word_register] = word;
            });
            pair_->run(poke ? 2 : random_.between(1, 8), "code rewritten");
        }
    }

    void device_write() {
        std::uint8_t bytes[96];
        for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random_.word());
        const std::uint32_t length = random_.between(1, sizeof(bytes));
        const std::uint64_t real = Layout::data + random_.below(Layout::data_bytes - 96);
        pair_->both([&](Machine& machine) { machine.write_memory(real, bytes, length); });
    }

    Random random_;
    std::unique_ptr<Pair> pair_;
    std::vector<Window> windows_;
    RegisterUse use_;
    CodeGenerator generator_;
};

} // namespace

TEST_CASE("changing translations, contexts and code are followed exactly", "[context]") {
    const std::uint64_t goal = instruction_goal(1'200'000);
    // A world of its own every so often: other register roles, other code.
    for (std::uint64_t world = 0; world < 6; ++world)
        World(100 + world, world % 2 == 0 ? runtime::soft::JitEngine::default_cache_bytes : 512 << 10).run(goal / 6);
}

TEST_CASE("changing translations, contexts and code are followed without each optimisation",
          "[context][optimisations]") {
    for (const auto& [name, disabled] : optimisation_cases()) {
        INFO("without " << name);
        World(200, 2 << 20, disabled).run(instruction_goal(40'000));
    }
}

// Two processes have pages of their own at one address. The first one's code changes, and what was made from it is used
// again for the second, which holds that code now: the first must not jump into it.
TEST_CASE("a translation used again elsewhere is not reached from where it was", "[context]") {
    constexpr std::uint32_t ea = 0x10000000;
    Pair pair;
    const auto run_as = [&](std::uint32_t pid, const char* what) {
        pair.both([&](Machine& machine) {
            machine.vcpu().set_pid(pid);
            machine.state().pc = ea;
        });
        pair.run(2, what);
    };
    const auto addi = [](std::uint32_t value) { return immediate(isa::Op::addi, 3, 0, value); };
    pair.both([&](Machine& machine) {
        for (const std::uint8_t pid : std::initializer_list<std::uint8_t>{1, 2}) {
            machine.vcpu().set_tlb_entry(pid, {.word0 = ea | TlbEntry::valid_bit | size_4k << 4,
                                               .word1 = static_cast<std::uint32_t>(Layout::code) + pid * 0x1000U,
                                               .word2 = TlbEntry::sx | TlbEntry::ux,
                                               .tid = pid});
            machine.write_word(Layout::code + pid * 0x1000U, addi(pid));
            machine.write_word(Layout::code + pid * 0x1000U + 4, match(isa::Op::isync));
        }
    });
    run_as(1, "first code of the first process");
    run_as(2, "code of the second");
    pair.both([&](Machine& machine) { machine.write_word(Layout::code + 0x1000, addi(7)); });
    pair.both([&](Machine& machine) { machine.write_word(Layout::code + 0x2000, addi(1)); });
    run_as(2, "the second has the first one's code");
    run_as(1, "the first has its new code");
    CHECK(pair.jit.state().gpr[3] == 7);
}
