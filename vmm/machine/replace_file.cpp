// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/replace_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "vmm/memory/descriptor.h"

namespace untrap::vmm {

int replace_file(const std::string& path, std::span<const std::uint8_t> bytes) {
    std::string temporary = path + ".XXXXXX";
    const Descriptor file(::mkostemp(temporary.data(), O_CLOEXEC)); // for the owner alone
    if (file.get() < 0) return errno;
    int error = 0;
    for (std::size_t at = 0; at < bytes.size() && error == 0;) {
        const ssize_t put = ::write(file.get(), bytes.data() + at, bytes.size() - at);
        if (put >= 0)
            at += static_cast<std::size_t>(put);
        else if (errno != EINTR)
            error = errno;
    }
    if (error == 0 && std::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
    if (error != 0) ::unlink(temporary.c_str());
    return error;
}

int cannot_replace(const std::string& path) {
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    return ::access(folder.empty() ? "." : folder.c_str(), W_OK | X_OK) != 0 ? errno : 0;
}

} // namespace untrap::vmm
