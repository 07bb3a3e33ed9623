// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/soft/engines.h"

#include "runtime/interpreter_engine.h"
#include "runtime/soft/jit_engine.h"

namespace untrap::runtime::soft {

MadeEngine make_interpreter_engine() {
    auto engine = std::make_shared<InterpreterEngine>();
    return {engine, [engine] { return EngineStatistics{0, engine->refills()}; }, nullptr};
}

MadeEngine make_jit_engine(Vcpu& vcpu, x64::Optimisations optimisations, std::span<const std::uint8_t> known) {
    auto engine = std::make_shared<JitEngine>(vcpu, JitEngine::default_cache_bytes, optimisations);
    if (!known.empty()) engine->take_translations(known);
    return {engine,
            [engine] {
                return EngineStatistics{engine->translated_blocks(), engine->shadow_refills()};
            },
            &engine->translations()};
}

} // namespace untrap::runtime::soft
