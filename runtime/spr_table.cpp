// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/spr_table.h"

#include <cstddef>
#include <type_traits>

#include "translator/isa/spr.h"

// The privileged special-purpose registers of the 440EP that are words of CpuState: which bits stick, and whether reads
// and writes have no other effect.
namespace untrap::runtime {

namespace spr = isa::spr;
using isa::CpuState;

namespace {

static_assert(std::is_standard_layout_v<CpuState>);
static_assert(sizeof(CpuState) <= 0xFFFF);

constexpr std::uint32_t all = 0xFFFFFFFF;
constexpr std::uint32_t instruction_address = 0xFFFFFFFC;

using Table = std::array<SprRow, spr_count>;

// Registers first … last, which follow each other in CpuState.
constexpr void plain(Table& table, unsigned first, unsigned last, std::size_t offset, std::uint32_t mask) {
    for (unsigned number = first; number <= last; ++number)
        table[number] = {static_cast<std::uint16_t>(offset + 4 * (number - first)), true, SprRow::Write::plain, mask};
}
constexpr void plain(Table& table, unsigned number, std::size_t offset, std::uint32_t mask) {
    plain(table, number, number, offset, mask);
}
// Writing does something else, or is not possible.
constexpr void read_only(Table& table, unsigned number, std::size_t offset) {
    table[number] = {static_cast<std::uint16_t>(offset), true, SprRow::Write::special, 0};
}

constexpr Table build() {
    Table table;
    plain(table, spr::sprg0, spr::sprg7, offsetof(CpuState, page.sprg), all);
    plain(table, spr::srr0, offsetof(CpuState, page.srr0), instruction_address);
    plain(table, spr::srr1, offsetof(CpuState, page.srr1), all);
    plain(table, spr::csrr0, offsetof(CpuState, page.csrr0), instruction_address);
    plain(table, spr::csrr1, offsetof(CpuState, page.csrr1), all);
    plain(table, spr::mcsrr0, offsetof(CpuState, page.mcsrr0), instruction_address);
    plain(table, spr::mcsrr1, offsetof(CpuState, page.mcsrr1), all);
    plain(table, spr::dear, offsetof(CpuState, page.dear), all);
    plain(table, spr::esr, offsetof(CpuState, page.esr), all);
    plain(table, spr::pid, offsetof(CpuState, page.pid), 0xFF);
    plain(table, spr::mmucr, offsetof(CpuState, page.mmucr), isa::mmucr::writable);
    plain(table, spr::ivpr, offsetof(CpuState, ivpr), 0xFFFF0000);
    plain(table, spr::ivor0, spr::ivor15, offsetof(CpuState, ivor), 0x0000FFF0);
    plain(table, spr::dbcr1, offsetof(CpuState, dbcr1), all);
    plain(table, spr::iac1, spr::iac4, offsetof(CpuState, iac), instruction_address);
    plain(table, spr::dac1, spr::dac2, offsetof(CpuState, dac), all);
    plain(table, spr::dvc1, spr::dvc2, offsetof(CpuState, dvc), all);
    plain(table, spr::ccr0, offsetof(CpuState, ccr0), all);
    plain(table, spr::ccr1, offsetof(CpuState, ccr1), all);
    plain(table, spr::ivlim, offsetof(CpuState, ivlim), all);
    plain(table, spr::dvlim, offsetof(CpuState, dvlim), all);
    plain(table, spr::inv0, spr::inv3, offsetof(CpuState, inv), all);
    plain(table, spr::itv0, spr::itv3, offsetof(CpuState, itv), all);
    plain(table, spr::dnv0, spr::dnv3, offsetof(CpuState, dnv), all);
    plain(table, spr::dtv0, spr::dtv3, offsetof(CpuState, dtv), all);
    read_only(table, spr::tcr, offsetof(CpuState, tcr));
    read_only(table, spr::pvr, offsetof(CpuState, pvr));
    read_only(table, spr::pir, offsetof(CpuState, pir));
    read_only(table, spr::dbsr, offsetof(CpuState, dbsr));
    read_only(table, spr::dbcr0, offsetof(CpuState, dbcr0));
    read_only(table, spr::dbcr2, offsetof(CpuState, dbcr2));
    read_only(table, spr::mcsr, offsetof(CpuState, mcsr));
    read_only(table, spr::rstcfg, offsetof(CpuState, rstcfg));
    table[spr::pid].write = table[spr::ivpr].write = SprRow::Write::followed;
    for (unsigned number = spr::ivor0; number <= spr::ivor15; ++number) table[number].write = SprRow::Write::followed;
    return table;
}

constexpr Table built = build();
static_assert(built[spr::sprg7].offset == offsetof(CpuState, page.sprg) + 7 * 4);
static_assert(!built[spr::dec].plain_read && !built[spr::tsr].plain_read);

constexpr bool only_privileged() {
    for (unsigned number = 0; number < spr_count; ++number)
        if (built[number].plain_read && !spr::is_privileged(number)) return false;
    return true;
}
static_assert(only_privileged());

} // namespace

constexpr Table spr_table = built;

} // namespace untrap::runtime
