// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/memory/prefault.h"

#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <system_error>

namespace untrap::vmm {

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;
// At once; the end of the VM waits for so many.
constexpr std::size_t step = mib / 4;

// False: this host does not do it, or has no memory left.
bool populate(std::span<std::uint8_t> part, const std::stop_token& stop) {
    for (; !part.empty(); part = part.subspan(std::min(step, part.size()))) {
        if (stop.stop_requested()) return false;
        if (madvise(part.data(), std::min(step, part.size()), MADV_POPULATE_WRITE) != 0) return false;
    }
    return true;
}

} // namespace

Prefault::Prefault(std::span<std::uint8_t> ram, std::uint64_t kernel_bytes) {
    // Linux: its image and what it allocates behind it at the bottom; the structures of all pages, and the initrd, at
    // the top.
    const std::size_t bottom = std::min(ram.size() / 8, 16 * mib), top = std::min(ram.size() / 32, 4 * mib);
    if (bottom == 0 || kernel_bytes < mib || std::thread::hardware_concurrency() < 2) return;
    // Signals are for others: the thread begins with this mask.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        worker_ = std::jthread([=](const std::stop_token& stop) {
            if (populate(ram.first(bottom), stop)) populate(ram.last(top), stop);
        });
    } catch (const std::system_error&) { // no thread: the guest has its pages when it touches them
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

} // namespace untrap::vmm
