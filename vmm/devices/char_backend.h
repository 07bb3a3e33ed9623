// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace untrap::vmm {

/// Takes what a guest prints. Called with the machine lock held, so it must not block for long.
class CharSink {
  public:
    virtual ~CharSink() = default;
    virtual void write(std::span<const std::uint8_t> bytes) = 0;
};

/// A device that takes typed input (a UART, a virtio console). receive() never loses a byte up to
/// `backlog_limit` waiting ones; the rest is dropped and reported once. Call with the machine lock held.
class CharInput {
  public:
    static constexpr std::size_t backlog_limit = 1u << 20;

    virtual ~CharInput() = default;
    virtual void receive(std::span<const std::uint8_t> bytes) = 0;
};

} // namespace untrap::vmm
