// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

// Bit values of the registers that are not plain numbers, PPC440 user's manual chapters 2 (programming model)
// and 6 (interrupts). Bit 0 of the manual is the most significant bit.
namespace untrap::isa {

constexpr std::uint32_t ppc_bit(unsigned n) { return 0x80000000U >> n; }

namespace msr {
inline constexpr std::uint32_t we = ppc_bit(13); // wait state enable
inline constexpr std::uint32_t ce = ppc_bit(14); // critical interrupt enable
inline constexpr std::uint32_t ee = ppc_bit(16); // external interrupt enable
inline constexpr std::uint32_t pr = ppc_bit(17); // problem state
inline constexpr std::uint32_t fp = ppc_bit(18);
inline constexpr std::uint32_t me = ppc_bit(19);
inline constexpr std::uint32_t fe0 = ppc_bit(20);
inline constexpr std::uint32_t dwe = ppc_bit(21); // debug wait enable
inline constexpr std::uint32_t de = ppc_bit(22);  // debug interrupt enable
inline constexpr std::uint32_t fe1 = ppc_bit(23);
inline constexpr std::uint32_t is = ppc_bit(26); // instruction address space
inline constexpr std::uint32_t ds = ppc_bit(27); // data address space
inline constexpr std::uint32_t defined = we | ce | ee | pr | fp | me | fe0 | dwe | de | fe1 | is | ds;
// Bits whose change alters how code runs: a stub never changes them, it takes the trap.
inline constexpr std::uint32_t mode = we | pr | fp | fe0 | dwe | de | fe1 | is | ds;
} // namespace msr

namespace esr {
inline constexpr std::uint32_t mci = ppc_bit(0);
inline constexpr std::uint32_t pil = ppc_bit(4); // illegal instruction
inline constexpr std::uint32_t ppr = ppc_bit(5); // privileged instruction
inline constexpr std::uint32_t ptr = ppc_bit(6); // trap
inline constexpr std::uint32_t fp = ppc_bit(7);  // floating-point operation
inline constexpr std::uint32_t st = ppc_bit(8);  // store
inline constexpr std::uint32_t dlk0 = ppc_bit(10);
inline constexpr std::uint32_t dlk1 = ppc_bit(11);
inline constexpr std::uint32_t ap = ppc_bit(12);
inline constexpr std::uint32_t puo = ppc_bit(13); // unimplemented operation
inline constexpr std::uint32_t bo = ppc_bit(14);  // byte ordering
inline constexpr std::uint32_t pie = ppc_bit(15); // imprecise
} // namespace esr

namespace xer {
inline constexpr std::uint32_t so = ppc_bit(0);
inline constexpr std::uint32_t ov = ppc_bit(1);
inline constexpr std::uint32_t ca = ppc_bit(2);
inline constexpr std::uint32_t count_mask = 0x7F;
} // namespace xer

namespace tcr {
inline constexpr std::uint32_t wp = 0xC0000000;  // watchdog period
inline constexpr std::uint32_t wrc = 0x30000000; // watchdog reset control
inline constexpr std::uint32_t wie = ppc_bit(4);
inline constexpr std::uint32_t die = ppc_bit(5);
inline constexpr std::uint32_t fp = 0x03000000; // FIT period
inline constexpr std::uint32_t fie = ppc_bit(8);
inline constexpr std::uint32_t are = ppc_bit(9); // decrementer auto-reload
} // namespace tcr

namespace tsr {
inline constexpr std::uint32_t enw = ppc_bit(0);
inline constexpr std::uint32_t wis = ppc_bit(1);
inline constexpr std::uint32_t wrs = 0x30000000;
inline constexpr std::uint32_t dis = ppc_bit(4);
inline constexpr std::uint32_t fis = ppc_bit(5);
} // namespace tsr

namespace dbcr0 {
inline constexpr std::uint32_t edm = ppc_bit(0);
inline constexpr std::uint32_t idm = ppc_bit(1); // internal debug mode
inline constexpr std::uint32_t rst = 0x30000000; // 1 core, 2 chip, 3 system reset
inline constexpr std::uint32_t icmp = ppc_bit(4);
inline constexpr std::uint32_t brt = ppc_bit(5);
inline constexpr std::uint32_t irpt = ppc_bit(6);
inline constexpr std::uint32_t trap = ppc_bit(7);
inline constexpr std::uint32_t iac1 = ppc_bit(8);
inline constexpr std::uint32_t iac2 = ppc_bit(9);
inline constexpr std::uint32_t iac3 = ppc_bit(10);
inline constexpr std::uint32_t iac4 = ppc_bit(11);
inline constexpr std::uint32_t dac1r = ppc_bit(12);
inline constexpr std::uint32_t dac1w = ppc_bit(13);
inline constexpr std::uint32_t dac2r = ppc_bit(14);
inline constexpr std::uint32_t dac2w = ppc_bit(15);
inline constexpr std::uint32_t ret = ppc_bit(16);
inline constexpr std::uint32_t ft = ppc_bit(31); // freeze timers on debug event
} // namespace dbcr0

namespace dbsr {
inline constexpr std::uint32_t ide = ppc_bit(0);
inline constexpr std::uint32_t ude = ppc_bit(1);
inline constexpr std::uint32_t mrr = 0x30000000; // most recent reset
inline constexpr std::uint32_t icmp = ppc_bit(4);
inline constexpr std::uint32_t brt = ppc_bit(5);
inline constexpr std::uint32_t irpt = ppc_bit(6);
inline constexpr std::uint32_t trap = ppc_bit(7);
inline constexpr std::uint32_t iac1 = ppc_bit(8);
inline constexpr std::uint32_t iac2 = ppc_bit(9);
inline constexpr std::uint32_t iac3 = ppc_bit(10);
inline constexpr std::uint32_t iac4 = ppc_bit(11);
inline constexpr std::uint32_t dac1r = ppc_bit(12);
inline constexpr std::uint32_t dac1w = ppc_bit(13);
inline constexpr std::uint32_t dac2r = ppc_bit(14);
inline constexpr std::uint32_t dac2w = ppc_bit(15);
inline constexpr std::uint32_t ret = ppc_bit(16);
} // namespace dbsr

namespace mmucr {
inline constexpr std::uint32_t sts = ppc_bit(15); // search translation space
inline constexpr std::uint32_t stid = 0xFF;       // search translation ID
inline constexpr std::uint32_t writable = 0x01FF00FF;
} // namespace mmucr

// Interrupts in the order of their IVORs.
enum class Interrupt : std::uint8_t {
    critical_input = 0,
    machine_check = 1,
    data_storage = 2,
    instruction_storage = 3,
    external_input = 4,
    alignment = 5,
    program = 6,
    fp_unavailable = 7,
    system_call = 8,
    ap_unavailable = 9,
    decrementer = 10,
    fixed_interval_timer = 11,
    watchdog = 12,
    data_tlb_error = 13,
    instruction_tlb_error = 14,
    debug = 15,
    count
};
inline constexpr unsigned interrupt_count = static_cast<unsigned>(Interrupt::count);

} // namespace untrap::isa
