// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/devices/diagnostics.h"

#include <cstdio>
#include <utility>

namespace untrap::vmm {

namespace {

ReportSink& current_sink() {
    static ReportSink sink;
    return sink;
}

} // namespace

ReportSink set_report_sink(ReportSink sink) { return std::exchange(current_sink(), std::move(sink)); }

void report(std::string_view line) {
    if (const ReportSink& sink = current_sink())
        sink(line);
    else
        std::fprintf(stderr, "untrap: %.*s\n", static_cast<int>(line.size()), line.data());
}

bool ReportOnce::first(std::uint64_t key) {
    if (seen_.size() >= limit_) return false;
    if (!seen_.insert(key).second) return false;
    // A limit of one or two is a plain "once", where this remark would be noise.
    if (seen_.size() == limit_ && limit_ > 2) report("next is the last report of its kind, more stay silent");
    return true;
}

} // namespace untrap::vmm
