// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>

namespace untrap::ppc {

// A TLB-miss handler of the guest as code for the host: the guest's own instructions from the handler's entry to its
// rfi, run in the host's supervisor state while everything of the guest but a few registers is still in the CPU. So
// nothing is left to trust: what reaches memory is checked word by word (verify_handler), control only goes forward,
// and the code ends at one of two exits.
//
// While it runs: r4 is the base of the host's record of the guest; the guest's r4 is in the host's SPRG0, its r3, r5-r7
// and LR are in the record, its other registers and CR in place, but for one CR field that no instruction of the
// handler names: the record has a copy of CR in which that one is right. A handler of data is entered with LR in place,
// and CR in the record alone; r3 is ESR, r7 the number of the page that missed, and 0x800 or not, but not 0x400.
// Privileged registers are in the record's state page, but for MSR, which there still is what the interrupt found:
// whoever leaves clears what an interrupt clears.
//
// tlbwe is noted, not done: of one entry, each word at most. The exits do it, since nobody can look meanwhile.

// Addresses the guest's memory can be reached by, filled in by the host: an EA whose block's bits, and the low bits
// that alignment asks for, equal the tag's is found at EA + addend.
struct Window {
    std::uint32_t tag = no_tag;
    std::uint32_t addend = 0;

    static constexpr std::uint32_t no_tag = 0x10; // no tag of an EA has this bit
};
// Loads: blocks of 1 MB. Stores: pages of 4 KB, since single pages may have to be left alone.
inline constexpr unsigned load_windows = 256, load_shift = 20, store_windows = 64, store_shift = 12;
struct Windows {
    Window loads[load_windows], stores[store_windows];

    Window& load(std::uint32_t ea) { return loads[ea >> load_shift & (load_windows - 1)]; }
    Window& store(std::uint32_t ea) { return stores[ea >> store_shift & (store_windows - 1)]; }
};

// What the handler wrote to the guest TLB. Which words: in r5 at the exit. The TID of word 0 is still in MMUCR, which
// nothing writes after the first of them.
struct TlbWrites {
    std::uint32_t index = 0; // its low 6 bits
    std::uint32_t words[3] = {};
};

// Where a handler runs. Addresses are the host's.
struct HandlerPlace {
    std::uint32_t leave = 0;  // the guest goes on at r3, by itself; r5: HandlerExit
    std::uint32_t finish = 0; // an rfi; r5: HandlerExit. Returns to LR, with r4 and r8-r31 as they were, to decline it
    // commit: all three words of an entry are written, and what is left up to the rfi only puts registers back. Returns
    // to LR with CR0 telling "equal" if that is done; r3, r5-r7, r10-r12 and the rest of CR are anything then. end: the
    // rfi after that. 0: there are no such exits.
    std::uint32_t commit = 0, end = 0;
    // For a handler of data, with commit. record: as commit, and what was read is kept as the page's struct Walk.
    // recall: a Walk is still right. r5: its address; r3: the number of the entry, whose upper bits are anything; CR is
    // anything. Declines it by going on at CompiledHandler::declined, with LR in the record, TlbWrites as the handler
    // would leave them, and r3, r5-r7 and CR anything; otherwise the guest goes on. Within reach of a branch. walks:
    // walk_count of them, at a multiple of their size. 0: there are none.
    std::uint32_t record = 0, recall = 0, walks = 0;
    std::uint32_t windows = 0; // struct Windows
    std::uint32_t code = 0;    // the code itself
    std::uint32_t flags = 0;   // what every HandlerExit has besides: handler_exit::fetch, or nothing
    // In the record, bytes from its base: the guest's GPRs, LR and CR words, isa::StatePage, TlbWrites, and where to
    // put the address that no window was found for.
    std::int16_t gpr = 0, lr = 0, cr = 0, page = 0, tlb = 0, missed = 0;
    std::int16_t fixed = 0; // handler_fixed words: what the host has in place of FixedAddress
    std::int16_t memos = 0; // handler_memos windows, that the last accesses of the code were made by
    std::int16_t reads = 0; // struct WalkReads
};

// An access looks at a window of its own first, and notes there what it has found in the table. Whoever empties the
// table empties these. Accesses beyond that number do without.
inline constexpr unsigned handler_memos = 8;

// Addresses of the guest that the code needs whatever it does, since they are constants in it. The host has to have an
// address for each before the code runs.
inline constexpr unsigned handler_fixed = 4;
struct FixedAddress {
    std::uint32_t ea = 0;
    bool store = false;
};

// What a handler of data has found for a page: see handler_walk.h. Right while the words of memory that it has read are
// the same, and so are these fields of the state page, as long as the host's addresses in it are.
inline constexpr unsigned walk_inputs = 3, walk_loads = 4;
struct WalkRead {
    std::uint32_t address = 0, value = 0; // the host's address
};
struct Walk {
    // The page's number, the guest's PID above ESR[FP,ST]. no_key: one that is never looked for.
    static constexpr std::uint32_t no_key = 0xC00;
    std::uint32_t key = no_key;
    std::uint32_t inputs[walk_inputs] = {};
    WalkRead loads[walk_loads];
    std::uint32_t words[2] = {}; // words 1 and 2 of the guest's entry, as it can be read
    std::uint32_t host[2] = {};  // and of the one that the hardware gets
};
inline constexpr unsigned walk_shift = 6, walk_bits = 9, walk_count = 1U << walk_bits;
static_assert(sizeof(Walk) == 1U << walk_shift);
constexpr unsigned walk_number(std::uint32_t key) { return key >> 12 & (walk_count - 1); }

// What a handler reads on its way through, and MMUCR as it was at its entry. Address 0: it has not read that.
struct WalkReads {
    std::uint32_t mmucr = 0;
    WalkRead loads[walk_loads];
};

namespace handler_exit {
inline constexpr std::uint32_t words = 7;       // bit n: word n of TlbWrites was written
inline constexpr std::uint32_t load_miss = 8;   // no window for the load at r3
inline constexpr std::uint32_t store_miss = 16; // no window for the store at r3
inline constexpr std::uint32_t fetch = 32;      // the handler is that of instruction TLB errors
} // namespace handler_exit

inline constexpr unsigned handler_window = 256;    // words of guest code from the entry on that are looked at
inline constexpr unsigned handler_max_guest = 128; // instructions, each as often as it is compiled
inline constexpr unsigned handler_max_words = 1024;

struct CompiledHandler {
    unsigned length = 0;        // words
    unsigned guest = 0;         // instructions of the guest
    unsigned reach = 0;         // words of the guest's code, from the entry on, that it was made from
    bool other_context = false; // it may return to another PID or MSR than it was entered from
    unsigned memos = 0;         // used
    // Words at the beginning that look for a Walk; 0: it has none. Of that: what is read, as WalkReads has it, and
    // which fields of the state page.
    unsigned recall = 0, loads = 0, inputs = 0;
    unsigned pairs = 0;    // bit n: what is read first and second as n and n + 1 are words in a row
    unsigned declined = 0; // the word that a recall goes on at if it was declined
    std::uint16_t input_fields[walk_inputs] = {};
    unsigned fixed = 0;
    FixedAddress addresses[handler_fixed] = {};
};
// Room for the compiler to work in, since a kernel's stack has little.
struct HandlerWork {
    // By which words of the TLB entry are written (a bit each), and by the word of the guest's code: the guest register
    // that holds the entry's number, no_number if it is not known to, unreached if the code does not get there.
    static constexpr std::uint8_t no_number = 32, unreached = 0xFF;
    static constexpr unsigned mask_count = 8;
    std::uint8_t index[mask_count][handler_window];
    std::uint16_t labels[mask_count][handler_window];
    bool dirty[mask_count][handler_window]; // whether the spare CR field may hold something else than the guest's
    struct Stub {
        std::uint16_t from;  // the bc that leads here
        std::int16_t target; // word of the guest's code, from the entry on
        std::uint8_t flags;
    };
    struct Fixup {
        std::uint16_t from, to; // to: of labels, all in a row
    };
    static constexpr unsigned max_stubs = 96, max_fixups = 2 * handler_max_guest;
    // A value as HandlerWalk sees it. offset: bits that depend on where in its page the miss was.
    struct WalkValue {
        enum Kind : std::uint8_t {
            found,   // depends on what a Walk has been made from alone
            entry,   // the guest's register `of`, as it was at the entry
            turn,    // made by the choice of an entry
            unknown, // anything else
            unset    // an SPRG that was not written
        };
        Kind kind = unknown;
        std::uint8_t of = 0;
        std::uint32_t offset = 0;
        bool operator==(const WalkValue&) const = default;
    };
    struct WalkState {
        static constexpr std::uint16_t unused = 0xFFFF;
        std::uint16_t where = unused; // mask and word
        bool stored = false;
        std::uint32_t always = 0; // places that every way here has passed
        WalkValue gpr[32], cr[8], sprg[8];
    };
    static constexpr unsigned max_walk_states = 12;
    WalkState walk_states[max_walk_states], walk_state;
    Stub stubs[max_stubs];
    std::uint16_t leaves[max_stubs];
    Fixup fixups[max_fixups];
};
// window: the words of the guest's code from the entry on, which stays the same as long as the result is used. False if
// the handler cannot be compiled up to an rfi; out then holds nothing of use. out: handler_max_words.
bool compile_handler(const std::uint32_t* window, unsigned count, std::uint32_t entry, const HandlerPlace& place,
                     HandlerWork& work, std::uint32_t* out, CompiledHandler& result);

enum class HandlerFlaw : std::uint8_t { none, instruction, storage, branch, end };
// Whether code is what compile_handler may make, found out from the code alone: of `compiled`, length and addresses.
HandlerFlaw verify_handler(const std::uint32_t* words, const CompiledHandler& compiled, const HandlerPlace& place);
const char* name(HandlerFlaw flaw);

} // namespace untrap::ppc
