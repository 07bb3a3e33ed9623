// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/boot/input_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/devices/diagnostics.h"
#include "vmm/memory/descriptor.h"

namespace untrap::vmm {
std::vector<std::uint8_t> read_input_file(std::string_view role, const std::string& path, std::uint64_t most_bytes) {
    // O_NONBLOCK: a named pipe must be refused, not waited for.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) throw Error(fmt::format("{} {}: {}", role, path, std::strerror(errno)));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) throw Error(fmt::format("{} {}: {}", role, path, std::strerror(errno)));
    if (!S_ISREG(status.st_mode)) throw Error(fmt::format("{} {}: not a regular file", role, path));
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (size == 0) throw Error(fmt::format("{} {}: the file is empty", role, path));
    std::vector<std::uint8_t> bytes;
    const std::uint64_t most = std::min<std::uint64_t>(most_bytes, bytes.max_size());
    if (size > most) {
        throw Error(fmt::format("{} {}: too large, {} bytes where at most {} fit", role, path, size, most));
    }
    bytes.resize(static_cast<std::size_t>(size));
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) throw Error(fmt::format("{} {}: {}", role, path, std::strerror(errno)));
        if (got == 0) throw Error(fmt::format("{} {}: shrank while it was read", role, path));
        done += static_cast<std::size_t>(got);
    }
    return bytes;
}

} // namespace untrap::vmm
