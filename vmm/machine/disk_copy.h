// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>
#include <vector>

#include "vmm/machine/options.h"

namespace untrap::vmm {

// Private copies of disk images, gone with this object: a run on them leaves the originals as they are, and the next
// run starts from the same contents. The copies are unlinked files beside each other in $TMPDIR (or /tmp), or, where
// the file system of the image can share blocks (btrfs, xfs), clones beside the image. Holes stay holes.
class DiskCopies {
  public:
    // Disks that are read-only are used as they are. Throws Error naming the image and the cause.
    explicit DiskCopies(const std::vector<DiskOption>& disks);
    ~DiskCopies();
    DiskCopies(const DiskCopies&) = delete;
    DiskCopies& operator=(const DiskCopies&) = delete;

    // The same disks in the same order, with the paths of the copies.
    const std::vector<DiskOption>& disks() const { return disks_; }

  private:
    std::vector<int> files_;
    std::vector<DiskOption> disks_;
};

} // namespace untrap::vmm
