// SPDX-License-Identifier: GPL-2.0-only
#include "run_random.h"

#include <algorithm>

namespace untrap::tests {

using isa::TrapKind;

isa::CpuState random_state(Random& random, const RegisterUse& use, const std::function<std::uint32_t()>& pointer) {
    isa::CpuState state;
    state.reset();
    for (unsigned gpr = 0; gpr < 32; ++gpr) {
        state.gpr[gpr] = random_gpr(random);
        if ((use.pointers >> gpr & 1) != 0) state.gpr[gpr] = pointer();
        if ((use.offsets >> gpr & 1) != 0) {
            state.gpr[gpr] = random.below(16) * 4 - 32;
            if (random.chance(15)) state.gpr[gpr] = random.below(9000) - 4500;
        }
    }
    state.lr = random_gpr(random);
    state.ctr = random.chance(70) ? random.below(12) : random_gpr(random);
    state.set_cr(random.word());
    state.xer_ca = random.chance(50);
    state.xer_ov = random.chance(20);
    state.xer_so = random.chance(25);
    state.xer_count = static_cast<std::uint8_t>(random.chance(60) ? random.below(34) : random.below(128));
    for (auto& fpr : state.fpr) fpr = random_fpr(random);
    state.fpscr = random_fpscr(random);
    state.usprg0 = random.word();
    for (auto& sprg : state.page.sprg) sprg = random.word();
    if (random.chance(30)) {
        state.reserve_valid = 1;
        state.reserve_address = pointer() & ~3U;
    }
    return state;
}

std::uint32_t random_msr(Random& random, unsigned other_space_percent) {
    namespace msr = isa::msr;
    std::uint32_t value = random.word() & (msr::ee | msr::ce | msr::me);
    if (random.chance(50)) value |= msr::pr;
    if (random.chance(85)) value |= msr::fp;
    if (random.chance(20)) value |= msr::fe0;
    if (random.chance(20)) value |= msr::fe1;
    if (random.chance(other_space_percent)) value |= msr::is;
    if (random.chance(other_space_percent)) value |= msr::ds;
    return value;
}

bool run_in_pieces(Pair& pair, Random& random, std::uint64_t count, const std::string& context,
                   const std::function<void()>& between_pieces) {
    while (count != 0) {
        std::uint64_t piece = count;
        if (random.chance(60)) piece = std::min<std::uint64_t>(count, random.between(1, random.chance(50) ? 8 : 70));
        const std::uint64_t start = pair.reference.state().retired;
        const isa::Trap trap = pair.run(piece, context);
        count -= pair.reference.state().retired - start;
        switch (trap.kind) {
        case TrapKind::budget: break;
        case TrapKind::fetch_miss:
        case TrapKind::fetch_denied:
        case TrapKind::fetch_bus_error: return true;
        default: {
            if (count != 0) --count;
            // A system call now and then resumes where it was, as after a signal.
            const std::uint32_t step = random.chance(2) ? 0 : 4;
            pair.both([&](Machine& machine) { machine.state().pc += step; });
        }
        }
        if (between_pieces) between_pieces();
    }
    return false;
}

} // namespace untrap::tests
