// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/peak_memory.h"

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

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

std::uint64_t resident_bytes(void* from, std::uint64_t bytes) {
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const auto length = static_cast<std::size_t>(bytes); // of a mapping, so of this address space
    std::vector<unsigned char> resident(static_cast<std::size_t>(length / page));
    if (::mincore(from, length, resident.data()) != 0) return 0;
    return page * static_cast<std::uint64_t>(std::ranges::count_if(resident, [](unsigned char in) { return in & 1; }));
}

} // namespace untrap::vmm
