// SPDX-License-Identifier: GPL-2.0-only

// `untrap prof`: the same guest in trap mode, then in patch mode, with exits told apart by guest instruction. stdout
// has both consoles, one after the other, and ends with the profile; messages are on stderr.

#include <string>

#include "vmm/boot/symbol_table.h"
#include "vmm/cli/both_modes.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/output_file.h"
#include "vmm/report/flame_graph.h"
#include "vmm/report/profile.h"
#include "vmm/report/profile_html.h"
#include "vmm/report/profile_text.h"

namespace untrap::vmm {

int do_profile(const ProfileCommand& command) {
    OutputFile json("--json", command.json_file);
    OutputFile html("--html", command.html_file);
    OutputFile flame("--flame", command.flame_file);
    const SymbolTable symbols = SymbolTable::of_kernel(command.machine.boot.kernel);

    Comparison comparison = comparison_of(command.machine);
    if (const int status = run_both_modes("prof", comparison, command.run); status != 0) return status;
    const Profile profile = make_profile(comparison, symbols);
    const bool shown = show_behind_consoles(profile_text(profile, command.top));
    const bool json_written = json.write(profile_json(profile).dump(2) + "\n");
    const bool html_written = html.write(command.html_file.empty() ? "" : profile_html(profile, command.top));
    const bool flame_written = flame.write(command.flame_file.empty() ? "" : flame_graph(profile));
    return shown && json_written && html_written && flame_written ? 0 : status_failed;
}

} // namespace untrap::vmm
