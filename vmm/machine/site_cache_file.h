// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/kvm/untrap_abi.h"

namespace untrap::vmm {

// Hot sites that outlive their VM. All numbers in the file are big-endian: "untrapSC", version (32 bits), count (32),
// XXH3 of the records (64), and the records: page hash (64), word (32), offset (16), 0 (16), in ascending order.
class SiteCacheFile {
  public:
    // A file that does not exist is an empty cache; one that is damaged too, after a line on stderr. Throws Error where
    // there is no file to be had: a directory, no permission.
    explicit SiteCacheFile(std::string path);

    // What the file held, sorted and valid for untrap_set_known_sites.
    const std::vector<abi::UntrapHotSite>& sites() const { return sites_; }
    // Replaces the file: these sites, and of those that it held the ones of other pages while there is room. A line on
    // stderr if that fails; the old file then is as it was.
    void save(std::vector<abi::UntrapHotSite> hot);

  private:
    std::string path_;
    std::vector<abi::UntrapHotSite> sites_;
};

// The bytes of such a file, and back; empty text: the sites are in `sites`, otherwise what is wrong.
std::vector<std::uint8_t> encode_site_cache(const std::vector<abi::UntrapHotSite>& sites);
std::string decode_site_cache(const std::vector<std::uint8_t>& bytes, std::vector<abi::UntrapHotSite>& sites);
// `hot` in order, none twice, and behind it in rank those of `old` whose pages are not in it.
std::vector<abi::UntrapHotSite> merge_sites(std::vector<abi::UntrapHotSite> hot,
                                            const std::vector<abi::UntrapHotSite>& old);

} // namespace untrap::vmm
