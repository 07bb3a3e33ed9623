// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <functional>
#include <memory>

#include "runtime/engine.h"
#include "translator/x64/optimisations.h"

namespace untrap::runtime::soft {

struct EngineStatistics {
    std::uint64_t translated_blocks = 0;
    std::uint64_t shadow_refills = 0;
};

// An engine and how to ask it what it did.
struct MadeEngine {
    std::shared_ptr<Engine> engine;
    std::function<EngineStatistics()> statistics;
};

MadeEngine make_interpreter_engine();
// Throws std::runtime_error if generated code cannot be had.
MadeEngine make_jit_engine(Vcpu& vcpu, x64::Optimisations optimisations);

} // namespace untrap::runtime::soft
