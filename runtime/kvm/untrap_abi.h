// SPDX-License-Identifier: GPL-2.0-only
#pragma once

// What untrap adds to the KVM interface, the same on both hosts. A plain KVM client never needs any of it.

#include "runtime/kvm/abi.h"

namespace untrap::abi {

// ---- KVM_ENABLE_CAP on a VM, before the first KVM_RUN --------------------------------------------------------------
// KVM_CHECK_EXTENSION answers 1 for each that the host has, for cap_untrap_levels the bit mask of the levels it has.
// Arguments that the host cannot do are -EINVAL.

// Not to be enabled: KVM_CHECK_EXTENSION says 1 where the ioctls below exist.
inline constexpr std::uint32_t cap_untrap = 0x55540000u;
// args[0]: patch levels in use as a bit mask, bit n for level n (1 … 4); 0 is trap mode.
inline constexpr std::uint32_t cap_untrap_levels = 0x55540001u;
// args[0]: untrap_clock_*; args[1]: 1 when event sources outside the guest exist, so that idle waits under the guest
// clock take their real time, 0 to skip them. KVM_CHECK_EXTENSION: 1 where there is the host's clock alone, 2 where
// there is the guest's too.
inline constexpr std::uint32_t cap_untrap_clock = 0x55540002u;
// args[0]: untrap_engine_*.
inline constexpr std::uint32_t cap_untrap_engine = 0x55540003u;
// args[0]: traps of a site before it is patched. args[1]: sites patched at a time, 0: as many as there is room for.
// args[2]: changes of patched words in a 4 KB page until the page is left alone, 0: the host's default.
inline constexpr std::uint32_t cap_untrap_threshold = 0x55540004u;
inline constexpr unsigned untrap_default_threshold = 4;

// args[0]: exits are told apart by guest instruction, in a table for this many of them (rounded up to a power of two,
// at most untrap_most_exit_sites); 0: they are not.
inline constexpr std::uint32_t cap_untrap_exit_sites = 0x55540005u;

// args[0]: optimisations of soft440's JIT to do without, as a bit mask. KVM_CHECK_EXTENSION answers the mask of those
// that there are: translator/x64/optimisations.h numbers and names them. native440 has none.
inline constexpr std::uint32_t cap_untrap_disable = 0x55540006u;

// Not to be enabled: KVM_CHECK_EXTENSION says untrap_most_hot_sites where the cache of hot sites exists.
inline constexpr std::uint32_t cap_untrap_hot_sites = 0x55540007u;

// Not to be enabled: KVM_CHECK_EXTENSION says 1 where translations can be read and given (soft440).
inline constexpr std::uint32_t cap_untrap_translations = 0x55540008u;

// args[0]: bytes that native440 may take for patched copies of guest code and for stubs, from untrap_least_patch_memory
// to what KVM_CHECK_EXTENSION answers; the default is a parameter of the module. What finds no room keeps its trap.
// soft440 has none: its patches are in translations.
inline constexpr std::uint32_t cap_untrap_patch_memory = 0x55540009u;
inline constexpr std::uint64_t untrap_least_patch_memory = 4096;

// Not to be enabled: KVM_CHECK_EXTENSION says where UntrapRegisters lies in the mapping of the vCPU, in pages; 0: there
// is none.
inline constexpr std::uint32_t cap_untrap_registers = 0x5554000Au;

inline constexpr std::uint64_t untrap_clock_host = 0;
inline constexpr std::uint64_t untrap_clock_guest = 1; // time is counted in retired guest instructions

inline constexpr std::uint64_t untrap_engine_jit = 0;
inline constexpr std::uint64_t untrap_engine_interpreter = 1;

inline constexpr unsigned untrap_lowest_level = 1;
inline constexpr unsigned untrap_highest_level = 4;

// Bit mask of all levels up to and including `level` (0 … 4).
constexpr std::uint64_t untrap_levels_up_to(unsigned level) { return ((std::uint64_t{2} << level) - 1) & ~1ull; }

// Frequency of the guest's timebase and decrementer in Hz, whichever clock drives them on soft440. native440 reports
// its host's own, since the guest reads the timebase of the CPU.
inline constexpr std::uint32_t timebase_hz = 400'000'000;

// ---- statistics, an ioctl of the vCPU ------------------------------------------------------------------------------

inline constexpr unsigned untrap_exit_slots = 32;

struct UntrapStats {
    std::uint64_t guest_instructions;
    std::uint64_t exits_total;
    std::uint64_t exits[untrap_exit_slots]; // by runtime::ExitReason
    std::uint64_t patched_sites;
    std::uint64_t translated_blocks;
    // native440 with exit timing on (exit_timing=1): timebase ticks spent outside the guest's own code. Where the
    // timebase counts instructions (QEMU with -icount) that is what they are. 0 where not known.
    std::uint64_t host_instructions;
    std::uint64_t shadow_refills;
    std::uint64_t known_sites;      // patched because the cache of hot sites knew them
    std::uint64_t left_alone_pages; // whose patched words kept changing
    std::uint64_t reserved[8];
};

inline constexpr std::uint32_t untrap_get_stats = ioc::ior<UntrapStats>(0xF0);

// ---- exits by site, an ioctl of the vCPU ---------------------------------------------------------------------------

inline constexpr std::uint64_t untrap_most_exit_sites = std::uint64_t{1} << 20;
inline constexpr std::uint64_t untrap_unknown_real = ~std::uint64_t{0};

inline constexpr std::uint8_t untrap_site_user = 1;      // in problem state
inline constexpr std::uint8_t untrap_site_elsewhere = 2; // at all the sites that found no room in the table
inline constexpr std::uint8_t untrap_site_refused = 4;   // hot, and no level in use has a patch for it

// Exits of one reason at one guest instruction.
struct UntrapExitSite {
    std::uint64_t real; // guest real address, untrap_unknown_real when the instruction cannot be fetched
    std::uint64_t exits;
    std::uint64_t instructions; // guest instructions that the hypervisor executed in these exits
    std::uint64_t host_ticks;   // timebase ticks spent in them; 0 where not known
    std::uint32_t ea;
    std::uint32_t word;  // the instruction, 0 when it cannot be fetched
    std::uint8_t reason; // runtime::ExitReason
    std::uint8_t flags;  // untrap_site_*
    std::uint8_t level;  // that it is patched at now, 0: it is not; of a TLB miss 4 when its handler runs in its exit
    std::uint8_t span;   // level 3: instructions of the sequence
    std::uint32_t reserved;
};

// Reads a part of the table, in no order. -ENOENT: cap_untrap_exit_sites is off, or nothing has run yet; -EINVAL: no
// room or a `next` that no answer gave.
struct UntrapExitSites {
    std::uint64_t sites; // address of UntrapExitSite[count]
    std::uint32_t count; // in: room; out: how many were written, perhaps fewer
    std::uint32_t next;  // in: 0, or what the last answer gave; out: where the next part begins, 0 when it was the last
};

inline constexpr std::uint32_t untrap_get_exit_sites = ioc::iowr<UntrapExitSites>(0xF2);

// ---- the cache of hot sites ----------------------------------------------------------------------------------------

inline constexpr std::uint32_t untrap_most_hot_sites = 65536;
inline constexpr std::uint32_t untrap_hot_sites_in_page = 1024;

// A patched site by the content of its page, so that a cache is good for any VM that comes to have such a page.
struct UntrapHotSite {
    std::uint64_t page_hash; // XXH3, 64 bits, no seed, of the 4 KB page
    std::uint32_t word;      // the privileged instruction
    std::uint16_t offset;    // in the page, bytes, a multiple of 4
    std::uint16_t reserved;  // 0
};

struct UntrapHotSites {
    std::uint64_t sites; // address of UntrapHotSite[count]
    std::uint32_t
        count;          // untrap_get_hot_sites: in: room, at least untrap_hot_sites_in_page; out: how many were written
    std::uint32_t next; // untrap_get_hot_sites: as in UntrapExitSites; otherwise 0
};

// An ioctl of the vCPU: a part of what is patched now, in no order. -EINVAL: no room, or a `next` that no answer gave.
inline constexpr std::uint32_t untrap_get_hot_sites = ioc::iowr<UntrapHotSites>(0xF3);
// An ioctl of the VM before the first KVM_RUN (-EBUSY): sites that are patched as soon as a page with their hash and
// word is executed. Sorted by page_hash, then offset, none twice, at most untrap_most_hot_sites (-EINVAL); takes the
// place of those given before.
inline constexpr std::uint32_t untrap_set_known_sites = ioc::iow<UntrapHotSites>(0xF4);

// ---- translations, soft440 alone -----------------------------------------------------------------------------------

struct UntrapTranslations {
    std::uint64_t image; // address of the bytes
    std::uint64_t bytes; // untrap_get_translations: in: room; out: how many there are
};

// An ioctl of the vCPU: what guest code was translated to, for the next VM of this very program on this host. 0 bytes:
// there is nothing, or nothing new. -E2BIG: not enough room; bytes says how many there are.
inline constexpr std::uint32_t untrap_get_translations = ioc::iowr<UntrapTranslations>(0xF5);
// An ioctl of the VM before the first KVM_RUN (-EBUSY), after all of KVM_ENABLE_CAP: translations read from another
// one. They have to stay until the first KVM_RUN is over. -EINVAL: damaged; -ESTALE: of another program, host, or
// configuration. Any guest may run with them: they are found by the guest's code. But they are trusted: whoever can
// make up an image can run code in this process.
inline constexpr std::uint32_t untrap_set_translations = ioc::iow<UntrapTranslations>(0xF6);

// ---- DMA, an ioctl of the VM ---------------------------------------------------------------------------------------

// Userspace wrote this range of guest memory: whatever was made from its code (translations, patched copies) goes.
struct UntrapMemoryRange {
    std::uint64_t gpa;
    std::uint64_t len; // bytes
};

inline constexpr std::uint32_t untrap_memory_written = ioc::iow<UntrapMemoryRange>(0xF1);

// ---- registers of devices, a page of the vCPU's mapping ------------------------------------------------------------

inline constexpr unsigned untrap_most_register_blocks = 8;
inline constexpr unsigned untrap_block_registers = 8;
inline constexpr unsigned untrap_block_ends = 4;

// Eight registers of one byte each of a device, and what need not end KVM_RUN about them. Userspace may change it at
// any time, also while the vCPU runs: each field is looked at when the guest makes an access. A register is made known
// by its value first and its bit in `loads` after that.
struct UntrapRegisterBlock {
    std::uint64_t base; // guest real address of the first; blocks do not overlap
    std::uint8_t loads; // bit n: a load of the byte at base + n gives values[n] and does nothing else
    std::uint8_t exits; // bit n: a store there ends KVM_RUN, also where a coalesced zone has it
    std::uint8_t keeps; // bit n, along with that in `loads`: a store of values[n] there does nothing
    std::uint8_t end_count;
    std::uint8_t ends[untrap_block_ends]; // a store of one of the first end_count of these values ends KVM_RUN too
    std::uint8_t values[untrap_block_registers];
    std::uint64_t reserved2;
};

struct UntrapRegisters {
    std::uint32_t count; // blocks in use
    std::uint32_t reserved[7];
    UntrapRegisterBlock blocks[untrap_most_register_blocks];
};

// The pages of a vCPU's mapping: kvm_run, the coalesced ring, UntrapRegisters. Clients ask the capabilities.
inline constexpr unsigned vcpu_ring_page = 1, vcpu_registers_page = 2, vcpu_pages = 3;

static_assert(sizeof(UntrapRegisterBlock) == 32 && sizeof(UntrapRegisters) <= 4096);

// ---- guest memory, an ioctl of /dev/kvm or a VM, native440 alone ---------------------------------------------------

// Returns a file of zeroed memory in pieces as large as the host has them, to be mapped (MAP_SHARED) and given to
// KVM_SET_USER_MEMORY_REGION. Number and layout are those of mainline's KVM_CREATE_GUEST_MEMFD.
struct UntrapGuestMemory {
    std::uint64_t size;  // bytes, a multiple of 4096
    std::uint64_t flags; // 0
    std::uint64_t reserved[6];
};

inline constexpr std::uint32_t untrap_create_guest_memory = ioc::iowr<UntrapGuestMemory>(0xD4);

static_assert(sizeof(UntrapGuestMemory) == 64);
static_assert(sizeof(UntrapStats) == 384);
static_assert(sizeof(UntrapTranslations) == 16);
static_assert(sizeof(UntrapExitSite) == 48 && sizeof(UntrapExitSites) == 16);
static_assert(sizeof(UntrapHotSite) == 16 && sizeof(UntrapHotSites) == 16);
static_assert(untrap_levels_up_to(0) == 0 && untrap_levels_up_to(3) == 0b1110);

} // namespace untrap::abi
