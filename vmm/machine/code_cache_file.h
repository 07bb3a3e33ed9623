// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

#include "vmm/machine/kvm_vm.h"
#include "vmm/memory/file_buffer.h"

namespace untrap::vmm {

// Translations that outlive their VM. The file is what the host made (untrap_get_translations), and code of this very
// process once it is read: it has to be a regular file of this user that nobody else may write or read.
class CodeCacheFile {
  public:
    // A file that does not exist is an empty cache. Throws Error where there is no file to be had: a directory, another
    // user's, no permission.
    explicit CodeCacheFile(std::string path);

    // Before the VM runs: gives it what the file holds. A line on stderr where that is damaged, or of another program,
    // host or configuration: nothing of it is used then.
    void give(KvmVm& vm) const;
    // Replaces the file by the translations there are now, if any are new. A line on stderr if that fails; the old file
    // then is as it was.
    void save(KvmVm& vm) const;

  private:
    std::string path_;
    FileBuffer image_; // has to stay while the VM runs
};

} // namespace untrap::vmm
