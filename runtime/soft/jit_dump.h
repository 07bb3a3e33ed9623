// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "translator/x64/block.h"

namespace untrap::runtime::soft {

// Generated code for perf: DIR/jit-PID.dump, as perf's jitdump format wants it (perf record -k 1, perf inject --jit),
// and /tmp/perf-PID.map for perf report and perf top without that step. A block is called by where the guest has it;
// its debug information says which guest address each piece of it is made from, as the line of a file `guest`.
class JitDump {
  public:
    // Where the environment's UNTRAP_JITDUMP says; nullptr if it is not set, with a word on stderr if that does not
    // work.
    static std::unique_ptr<JitDump> from_environment();
    ~JitDump();
    JitDump(const JitDump&) = delete;
    JitDump& operator=(const JitDump&) = delete;

    void shared_code(const std::uint8_t* code, std::size_t size);
    void block(const x64::BlockSource& source, const x64::EmittedBlock& emitted, const std::uint8_t* code);

  private:
    JitDump(int dump, int map);
    void code(const char* name, const std::uint8_t* code, std::size_t size);

    int dump_, map_;
    void* mark_ = nullptr; // perf notices the dump by a mapping of it
    std::uint64_t count_ = 0;
};

} // namespace untrap::runtime::soft
