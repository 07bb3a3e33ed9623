// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "runtime/engine.h"
#include "translator/x64/optimisations.h"

namespace untrap::runtime::soft {

class CodeCache;

struct EngineStatistics {
    std::uint64_t translated_blocks = 0;
    std::uint64_t shadow_refills = 0;
};

// An engine and how to ask it what it did.
struct MadeEngine {
    std::shared_ptr<Engine> engine;
    std::function<EngineStatistics()> statistics;
    // The translations that there are; nullptr for an engine that has none.
    const CodeCache* translations = nullptr;
};

MadeEngine make_interpreter_engine();
// Throws std::runtime_error if generated code cannot be had.
// known: translations of another VM (code_image.h) with the key of this one; may be empty.
MadeEngine make_jit_engine(Vcpu& vcpu, x64::Optimisations optimisations, std::span<const std::uint8_t> known);

} // namespace untrap::runtime::soft
