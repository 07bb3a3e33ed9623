// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/boot/input_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/devices/diagnostics.h"
#include "vmm/memory/descriptor.h"

namespace untrap::vmm {

FileBuffer read_input_file(std::string_view role, const std::string& path, std::uint64_t most_bytes) {
    // O_NONBLOCK: a named pipe must be refused, not waited for.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) throw Error(fmt::format("{} {}: {}", role, path, std::strerror(errno)));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) throw Error(fmt::format("{} {}: {}", role, path, std::strerror(errno)));
    if (!S_ISREG(status.st_mode)) throw Error(fmt::format("{} {}: not a regular file", role, path));
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (size == 0) throw Error(fmt::format("{} {}: the file is empty", role, path));
    const std::uint64_t most = std::min<std::uint64_t>(most_bytes, SIZE_MAX);
    if (size > most) {
        throw Error(fmt::format("{} {}: too large, {} bytes where at most {} fit", role, path, size, most));
    }
    FileBuffer bytes(static_cast<std::size_t>(size));
    const int error = bytes.read(file.get());
    if (error == ENODATA) throw Error(fmt::format("{} {}: shrank while it was read", role, path));
    if (error != 0) throw Error(fmt::format("{} {}: {}", role, path, std::strerror(error)));
    return bytes;
}

} // namespace untrap::vmm
