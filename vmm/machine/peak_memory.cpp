// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/peak_memory.h"

#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <string>
#include <unistd.h>

namespace untrap::vmm {

std::uint64_t peak_rss_bytes() {
    constexpr std::string_view key = "VmHWM:";
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
    }
    return 0;
}

void reset_peak_rss() {
    const int fd = ::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    [[maybe_unused]] const ssize_t wrote = ::write(fd, "5", 1);
    ::close(fd);
}

} // namespace untrap::vmm
