// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>

#include "runtime/exit_reason.h"
#include "translator/isa/table.h"

namespace untrap::runtime {

class Vcpu;

// Emulation of the privileged instructions.
class Emulator {
  public:
    enum class Outcome : std::uint8_t {
        completed, // pc and retired are advanced
        reflected, // an exception was delivered instead
        dcr,       // userspace has to do the access in Vcpu::dcr()
        reset,     // completed, and the guest asked for a reset
    };

    explicit Emulator(Vcpu& vcpu) : vcpu_(vcpu) {}

    // The reason under which the exit for this instruction is counted; to be asked before it executes.
    ExitReason reason(isa::Instruction instruction) const;
    // rfi.
    void return_from_interrupt();
    // Executes the privileged instruction at state.pc, in supervisor state.
    Outcome execute(isa::Instruction instruction);
    // Ends an mfdcr or mtdcr once userspace has done the access.
    void finish_dcr(isa::Instruction instruction, std::uint32_t value);

  private:
    enum class SprAccess : std::uint8_t { done, unknown, reset };

    void next();
    void write_msr(std::uint32_t value);
    void return_to(std::uint32_t address, std::uint32_t msr);
    Outcome move_from_spr(isa::Instruction instruction);
    Outcome move_to_spr(isa::Instruction instruction);
    Outcome unknown_spr(isa::Instruction instruction);
    SprAccess read_spr(unsigned number, std::uint32_t& value);
    SprAccess write_spr(unsigned number, std::uint32_t value);
    bool first_warning(unsigned number);
    void tlb_read(isa::Instruction instruction);
    void tlb_write(isa::Instruction instruction);
    void tlb_search(isa::Instruction instruction);
    Outcome invalidate_data_block(isa::Instruction instruction);
    Outcome request_dcr(isa::Instruction instruction, bool is_write);

    Vcpu& vcpu_;
};

} // namespace untrap::runtime
