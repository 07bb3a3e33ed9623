// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/report/disassembly.h"

#include <array>
#include <fmt/format.h>
#include <utility>

#include "translator/isa/table.h"

namespace untrap::vmm {
namespace {

using isa::Form;
using isa::Instruction;
namespace spr = isa::spr;

std::string spr_name(unsigned number) {
    constexpr std::array names = std::to_array<std::pair<unsigned, const char*>>({
        {spr::xer, "xer"},       {spr::lr, "lr"},         {spr::ctr, "ctr"},       {spr::dec, "dec"},
        {spr::srr0, "srr0"},     {spr::srr1, "srr1"},     {spr::pid, "pid"},       {spr::decar, "decar"},
        {spr::csrr0, "csrr0"},   {spr::csrr1, "csrr1"},   {spr::dear, "dear"},     {spr::esr, "esr"},
        {spr::ivpr, "ivpr"},     {spr::usprg0, "usprg0"}, {spr::tbl_read, "tbl"},  {spr::tbu_read, "tbu"},
        {spr::tbl_write, "tbl"}, {spr::tbu_write, "tbu"}, {spr::pir, "pir"},       {spr::pvr, "pvr"},
        {spr::dbsr, "dbsr"},     {spr::dbcr0, "dbcr0"},   {spr::dbcr1, "dbcr1"},   {spr::dbcr2, "dbcr2"},
        {spr::iac1, "iac1"},     {spr::iac2, "iac2"},     {spr::iac3, "iac3"},     {spr::iac4, "iac4"},
        {spr::dac1, "dac1"},     {spr::dac2, "dac2"},     {spr::dvc1, "dvc1"},     {spr::dvc2, "dvc2"},
        {spr::tsr, "tsr"},       {spr::tcr, "tcr"},       {spr::mcsrr0, "mcsrr0"}, {spr::mcsrr1, "mcsrr1"},
        {spr::mcsr, "mcsr"},     {spr::mmucr, "mmucr"},   {spr::ccr0, "ccr0"},     {spr::ccr1, "ccr1"},
        {spr::dvlim, "dvlim"},   {spr::ivlim, "ivlim"},   {spr::rstcfg, "rstcfg"}, {spr::dbdr, "dbdr"},
    });
    for (const auto& [known, name] : names) {
        if (known == number) return name;
    }
    const auto in = [number](unsigned first, unsigned last) { return number >= first && number <= last; };
    if (in(spr::sprg0, spr::sprg7)) return fmt::format("sprg{}", number - spr::sprg0);
    if (in(spr::ivor0, spr::ivor15)) return fmt::format("ivor{}", number - spr::ivor0);
    return fmt::format("spr{}", number);
}

std::string operands(Instruction insn) {
    switch (insn.info().form) {
    case Form::x_rt: return fmt::format("r{}", insn.rt());
    case Form::wrteei: return insn.e() ? "1" : "0";
    case Form::xfx_spr:
        return insn.op == isa::Op::mtspr ? fmt::format("{}, r{}", spr_name(insn.spr()), insn.rs())
                                         : fmt::format("r{}, {}", insn.rt(), spr_name(insn.spr()));
    case Form::xfx_dcr:
        return insn.op == isa::Op::mtdcr ? fmt::format("0x{:x}, r{}", insn.dcrn(), insn.rs())
                                         : fmt::format("r{}, 0x{:x}", insn.rt(), insn.dcrn());
    case Form::x_tlb: return fmt::format("r{}, r{}, {}", insn.rt(), insn.ra(), insn.ws());
    case Form::x_mem: return fmt::format("r{}, {}{}, r{}", insn.rt(), insn.ra() != 0 ? "r" : "", insn.ra(), insn.rb());
    case Form::cache: return fmt::format("{}{}, r{}", insn.ra() != 0 ? "r" : "", insn.ra(), insn.rb());
    default: return "";
    }
}

} // namespace

std::string disassemble(std::uint32_t word, std::uint32_t address) {
    const Instruction insn = isa::decode(word);
    if (!insn.privileged()) return disassemble_unprivileged(word, address);
    const std::string text = operands(insn);
    return fmt::format("{}{}{}{}", insn.info().mnemonic, insn.has(isa::flag::rc) && insn.rc() ? "." : "",
                       text.empty() ? "" : " ", text);
}

} // namespace untrap::vmm
