// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/virtio/rng.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>

namespace untrap::vmm {

namespace {

constexpr std::uint32_t entropy_device_id = 4;

std::uint64_t splitmix64(std::uint64_t& state) {
    state += 0x9e3779b97f4a7c15;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

} // namespace

VirtioRng::VirtioRng(const GuestMemory& memory, std::optional<std::uint64_t> seed)
    : VirtioDevice(memory, entropy_device_id, "virtio-rng", 0, {64}), state_(seed) {}

void VirtioRng::handle_queue(unsigned queue_index) {
    while (take(queue_index, chain_)) {
        std::array<std::uint8_t, 256> bytes;
        const std::uint64_t wanted = std::min<std::uint64_t>(chain_.writable_bytes, request_limit);
        std::uint64_t done = 0;
        while (done < wanted) {
            const auto now =
                std::span(bytes).first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), wanted - done)));
            generate(now);
            if (broken()) return;
            done += copy_into(memory(), chain_, done, now);
        }
        if (!give_back(queue_index, chain_, done)) return;
    }
    signal(queue_index);
}

void VirtioRng::generate(std::span<std::uint8_t> out) {
    if (state_) {
        std::uint64_t word = 0;
        for (std::size_t i = 0; i < out.size(); ++i, word >>= 8) {
            if (i % sizeof(word) == 0) word = splitmix64(*state_);
            out[i] = static_cast<std::uint8_t>(word & 0xff);
        }
        return;
    }
    while (!out.empty()) {
        const ssize_t got = getrandom(out.data(), out.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            fail("the host gives no random bytes");
            return;
        }
        out = out.subspan(static_cast<std::size_t>(got));
    }
}

} // namespace untrap::vmm
