// SPDX-License-Identifier: GPL-2.0-only
#include "runtime/exit_sites.h"

namespace untrap::runtime {

ExitSite& ExitSites::slot(ExitReason reason, const Where& where) {
    const auto number = static_cast<std::uint32_t>(reason);
    const auto real = static_cast<std::uint32_t>(where.real >> 2);
    std::uint32_t key = (where.ea >> 2) * 0x9E3779B1U ^ real * 0x85EBCA6BU ^ where.word * 0xC2B2AE35U ^ number << 27;
    key ^= key >> 15;
    for (unsigned attempt = 0; attempt < probe_length; ++attempt) {
        ExitSite& site = sites_[(key + attempt) & (capacity_ - 1)];
        if (site.exits == 0) {
            site.real = where.real;
            site.ea = where.ea;
            site.word = where.word;
            site.reason = reason;
            site.user = where.user;
            return site;
        }
        if (site.real == where.real && site.ea == where.ea && site.word == where.word && site.reason == reason &&
            site.user == where.user)
            return site;
    }
    ExitSite& rest = sites_[capacity_ + number];
    rest.real = ExitSite::unknown_real;
    rest.reason = reason;
    rest.elsewhere = true;
    return rest;
}

void ExitSites::note(ExitReason reason, const Where& where, std::uint64_t retired) {
    close(retired);
    ExitSite& site = slot(reason, where);
    ++site.exits;
    last_ = &site;
    // A refill of the shadow TLB executes nothing, and is noted while the guest's count is still on its way.
    if (reason == ExitReason::itlb_virt || reason == ExitReason::dtlb_virt) return;
    open_ = &site;
    opened_at_ = retired;
}

void ExitSites::close(std::uint64_t retired) {
    if (open_ == nullptr) return;
    open_->instructions += retired - opened_at_;
    open_ = nullptr;
}

} // namespace untrap::runtime
