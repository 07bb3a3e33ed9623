// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/machine/code_cache_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <utility>

#include "vmm/devices/diagnostics.h"
#include "vmm/machine/replace_file.h"
#include "vmm/memory/descriptor.h"

namespace untrap::vmm {
namespace {

// More than the code of a full code cache and what belongs to it.
constexpr off_t most_bytes = off_t{256} << 20;

[[noreturn]] void fail(const std::string& path, std::string_view why) {
    throw Error(fmt::format("--code-cache {}: {}", path, why));
}

} // namespace

CodeCacheFile::CodeCacheFile(std::string path) : path_(std::move(path)) {
    if (const int error = cannot_replace(path_); error != 0)
        fail(path_, fmt::format("cannot be written: {}", std::strerror(error)));
    const Descriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0 && errno == ENOENT) return;
    struct stat status {};
    if (file.get() < 0 || ::fstat(file.get(), &status) != 0) fail(path_, std::strerror(errno));
    if (!S_ISREG(status.st_mode)) fail(path_, "not a regular file");
    if (status.st_uid != ::geteuid()) fail(path_, "another user's file; its code would run here");
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) fail(path_, "open to other users; its code would run here");
    if (status.st_size > most_bytes) fail(path_, "too large");
    image_ = FileBuffer(static_cast<std::size_t>(status.st_size));
    if (const int error = image_.read(file.get()); error != 0) fail(path_, std::strerror(error));
}

void CodeCacheFile::give(KvmVm& vm) const {
    if (const std::string wrong = vm.set_translations(image_.bytes()); !wrong.empty())
        report(fmt::format("--code-cache {}: {}; a new one is begun", path_, wrong));
}

void CodeCacheFile::save(KvmVm& vm) const {
    const FileBuffer image = vm.translations();
    if (image.empty()) return;
    const int error = replace_file(path_, image.bytes());
    if (error != 0) report(fmt::format("--code-cache {}: cannot be written: {}", path_, std::strerror(error)));
}

} // namespace untrap::vmm
