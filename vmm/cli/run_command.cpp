// SPDX-License-Identifier: GPL-2.0-only
#include "vmm/cli/commands.h"

#include "vmm/cli/output_file.h"
#include "vmm/devices/diagnostics.h"
#include "vmm/machine/machine.h"
#include "vmm/report/statistics.h"

namespace untrap::vmm {

int do_run(const RunCommand& command) {
    OutputFile statistics("--stats", command.statistics_file);
    const RunResult result = run_machine(command.machine, command.run);
    if (!result.message.empty()) report(result.message);
    const bool written = statistics.write(statistics_json(command.machine, result).dump(2) + "\n");
    const int status = result.exit_status();
    return status == 0 && !written ? status_failed : status;
}

} // namespace untrap::vmm
