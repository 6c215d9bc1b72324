"""Which arguments make a program run another one, or code of the caller's: an allowed program must not become a shell.

Five kinds: wrappers, which exist to run something; interpreters, which may run a script file that is named but no code
on the command line; programs with options of that kind; words that say so in any program; and texts that start a
program in some language, which only programs that take them for mere text may be given.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WRAPPERS = _names(
    ". [[ aa-exec alias ansible ansible-playbook at batch bind builtin bunx busybox bwrap capsh choom chpst chroot"
    " chrt command compgen complete coproc cpulimit crash crictl crontab ctr daemonize dash-run dbus-launch"
    " dbus-run-session dc declare doas ed emacs enable entr env eval ex exec expect export fakeroot fc firejail flock"
    " ftp gdb gimp hash history hyperfine i386 ionice ld-linux-x86-64.so.2 ld-linux.so ld.so less let links linux32"
    " linux64 lldb local logsave ltrace lxc lxc-attach lynx machinectl mapfile more most multitime nano newgrp nice"
    " nohup npx nsenter numactl nvim openvpn osascript parallel perf pico pipx pkexec prlimit proot readarray"
    " readonly red rlwrap rsh run-mailcap run-parts runc runit runuser rview rvim screen script service set setarch"
    " setpriv setsid sftp sg shopt slogin smbclient socat softlimit source ssh sshpass start-stop-daemon stdbuf"
    " strace su sudo systemd-run taskset tclsh telnet tftp time timeout tmux toybox trap typeset unbuffer unset"
    " unshare uvx vagrant valgrind vi view vigr vim vimdiff vipw w3m watch wish x86_64 xargs xdg-open xvfb-run"
)
"""Run another program, a shell among them, by what they are for or by a key: any argument is one too many."""

_INTERPRETERS = re.compile(
    r"(?:ba|da|z|k|mk|pdk|c|tc|fi|a|ya|r|rba|po?s|el|x?on|nu)?sh|pwsh|powershell|(?:python|pypy)[0-9.]*|perl[0-9.]*|ruby[0-9.]*"
    r"|node(?:js)?[0-9.]*|deno|bun|php[0-9.]*|lua(?:jit)?[0-9.]*|Rscript|R|julia|guile|scheme|racket|sbcl|ghci?|runghc|ocaml"
    r"|irb|pry|byebug|pdb[0-9.]*|ipython[0-9.]*|jshell|jjs|jrunscript|java|scala|groovy|elixir|erl|iex|slsh|swift|tsx|ts-node|gnuplot|octave|bpftrace"
)
_AWKS = frozenset(("awk", "gawk", "mawk", "nawk", "original-awk"))
_INFORMATION = frozenset(("--version", "--help", "-V"))

_OPTIONS: dict[str, tuple[str, ...]] = {
    "find": ("-exec", "-execdir", "-ok", "-okdir", "-delete", "-fls", "-fprint", "-fprint0", "-fprintf",
             "-files0-from"),
    "fd": ("-x", "-X", "--exec", "--exec-batch"),
    "fdfind": ("-x", "-X", "--exec", "--exec-batch"),
    "rg": ("--pre", "--hostname-bin", "-z", "--search-zip"),
    "tar": (
        "--to-command", "--checkpoint-action", "--use-compress-program", "-I", "--rsh-command", "--info-script",
        "--new-volume-script", "-F", "--rmt-command", "--absolute-names", "-P",
    ),
    "sort": ("--compress-program", "-o", "--output", "-T", "--temporary-directory", "--files0-from"),
    "split": ("--filter",),
    "zip": ("-T", "-TT", "--test", "--unzip-command"),
    "unzip": ("-:",),
    "rsync": ("-e", "--rsh", "--rsync-path", "--daemon", "--config"),
    "scp": ("-o", "-S", "-F", "-J", "-D"),
    "curl": ("-K", "--config", "-o", "-O", "--output", "--remote-name", "-T", "--upload-file", "--engine", "--proto"),
    "wget": ("--use-askpass", "-e", "--execute", "--config", "-O", "--output-document", "-i", "--input-file",
             "--post-file", "--body-file"),
    "ip": ("-b", "-batch", "--batch", "-force", "netns", "vrf", "exec"),
    "tcpdump": ("-z", "-w", "-F", "-Z"),
    "nmap": ("--script", "--interactive", "--datadir", "--servicedb", "-iL", "-sC", "-A"),
    "nc": ("-e", "-c", "--exec", "--sh-exec", "--lua-exec"),
    "ncat": ("-e", "-c", "--exec", "--sh-exec", "--lua-exec"),
    "netcat": ("-e", "-c"),
    "make": ("-f", "--file", "--makefile", "--eval", "-E", "-C", "--directory", "-I", "--include-dir"),
    "gmake": ("-f", "--file", "--makefile", "--eval", "-E", "-C", "--directory", "-I", "--include-dir"),
    "mysql": ("-e", "--execute", "--pager", "--tee", "--init-command", "--plugin-dir", "--defaults-file",
              "--default-auth"),
    "psql": ("-c", "--command", "-f", "--file", "-o", "--output", "-L", "--log-file"),
    "sqlite3": ("-cmd", "-init", "-A"),
    "ssh-keygen": ("-D", "-w"), "cowsay": ("-f",), "cowthink": ("-f",), "csvtool": ("call",),
    "gem": ("open", "-e", "exec", "install", "update", "-C"), "latexmk": ("-e", "-r"), "puppet": ("apply", "-e"),
    "rake": ("-e", "-E", "-p", "-r", "-f", "-R", "-I", "--execute-continue", "--rakefile", "--require", "--libdir"),
    "gtester": ("-q", "-o"), "virsh": ("create", "define", "edit", "qemu-monitor-command", "console"),
    "date": ("-s", "--set", "-f", "--file"),
    "file": ("-m", "--magic-file", "-f", "--files-from", "-C", "--compile"),
    "journalctl": ("--rotate", "--vacuum-size", "--vacuum-time", "--file", "-D", "--directory"),
    "systemctl": ("edit", "link", "enable", "start", "restart", "set-environment", "-H", "--host"),
    "apt": ("-o", "--option", "-c", "--config-file"),
    "apt-get": ("-o", "--option", "-c", "--config-file"),
    "dpkg": ("-i", "--install", "--pre-invoke", "--post-invoke", "--unpack", "--configure"),
    "rpm": ("-i", "-U", "-F", "--eval", "-E", "--define", "-D", "--pipe", "--rcfile", "--load"),
    "npm": ("exec", "x", "run", "run-script", "rum", "urn", "start", "test", "explore", "install", "i", "ci", "edit",
            "config", "set", "--script-shell", "--node-options"),
    "yarn": ("exec", "run", "dlx", "node", "install", "add", "config"),
    "pnpm": ("exec", "run", "dlx", "install", "add", "config", "start", "test"),
    "pip": ("-i", "--index-url", "--extra-index-url", "-e", "--editable", "--pre", "--target", "-c", "-r", "config"),
    "go": ("run", "generate", "tool", "-exec", "-toolexec", "-overlay", "env", "-modfile", "-ldflags", "-gcflags"),
    "cargo": ("run", "r", "install", "--config"),
    "mix": ("run", "-e", "-r", "--require"),
    "jq": ("-f", "--from-file", "-L", "--rawfile", "--slurpfile"),
    "openssl": ("-engine", "-provider", "engine", "-provider-path", "s_client", "s_server", "-config", "-out", "req"),
    "man": ("-P", "-H", "-l", "-C", "-L", "--html", "--config-file", "--local-file"),
    "kubectl": ("exec", "run", "debug", "attach", "cp", "edit", "plugin", "proxy", "port-forward", "--kubeconfig"),
    "gcc": ("-wrapper", "-B", "-specs", "-fplugin"),
    "cc": ("-wrapper", "-B", "-specs", "-fplugin"), "g++": ("-wrapper", "-B", "-specs", "-fplugin"),
    "clang": ("-B", "-fplugin", "-load", "-Xclang"),
} | dict.fromkeys(
    ("asdf", "bundle", "bundler", "conda", "hatch", "mamba", "micromamba", "mise", "nix", "pdm", "pipenv", "poetry",
     "rbenv", "rye", "uv", "volta"),
    ("run", "exec", "x", "shell", "develop", "install", "console", "open", "add", "config", "tool"),
) | dict.fromkeys(
    ("docker", "podman", "nerdctl"),
    ("run", "exec", "create", "build", "buildx", "compose", "cp", "import", "load", "start", "plugin", "attach",
     "-H", "--host"),
)  # fmt: skip
"""By program: options (and words) that run or write something else. Long ones also in every abbreviation."""

_SAYS_SO = re.compile(
    r"^-{1,2}[a-z0-9-]*(?:exec|command|cmd|shell|rsh|pager|editor|askpass|checkpoint-action|upload-pack|receive-pack|eval"
    r"|plugin|preload|hook|init-file|rcfile|to-program|run-program|-program|-bin|interpreter|wrapper|launcher)\b"
    r"|^--on-[a-z]|proxycommand|localcommand"
    r"|^(?:exec|system|shell|sh|open2?):|^ext::|::sh\b|^(?:bash_env|env|ld_preload|ld_library_path|ifs|path|pythonpath"
    r"|perl5opt|git_[a-z_]+|pager|editor|prompt_command|shell|makeflags|node_options)\+?=",
    re.IGNORECASE,
)
"""What gives any program away, known or not."""

_SHELL = r"(?:ba|da|z|k|mk|c|tc|fi|a)?sh"
_A_SHELL = re.compile(rf"(?:\S*/)?{_SHELL}")
_STARTS_A_PROGRAM = re.compile(
    rf"(?:/|[=;|&(\"']\s*){_SHELL}(?![\w./-])|^{_SHELL}\s+-\w*c\b"
    r"|\b(?:shell_?exec|passthru|system|popen\d?|spawn\w*|exec(?:file|ute|[lv]\w{0,2})?|eval|load_?library|load_extension"
    r"|getruntime|processbuilder)\("
    r"|\bexec\s*[\"'/]",
    re.IGNORECASE,
)
"""A shell that is named where a program would be, or a call that starts a program or loads one in some language."""

_OF_SQLITE = re.compile(
    r"^\s*\.(?!(?:databases|dump|fullschema|headers|help|indexes|indices|lint|mode|print|schema|show|stats|tables)\b)"
    r"|\b(?:edit|writefile|fts3_tokenizer)\s*\(|\battach\b|\bvacuum\b.*\binto\b",
    re.IGNORECASE | re.DOTALL,
)
"""Commands of its shell, which are no SQL, and SQL that starts a program or writes a file."""

_STARTING_WORDS = frozenset(("exec", "execute", "eval", "shell", "console", "repl", "runner"))
"""Subcommands by which a program hands over to another, in many."""

_TAKE_TEXT = _names(
    "[ base64 basename bc cat cksum cmp column comm cp cut date df diff dig dirname du echo egrep expand expr factor"
    " false fd fdfind fgrep file find fmt fold grep groups head hexdump host hostname id jobs join jq ldd ln locate"
    " look ls lsof md5sum mkdir mv nl nm nproc nslookup objdump od paste pgrep ping pr printenv printf ps pwd readelf"
    " readlink realpath rev rg rm rmdir sha1sum sha256sum sha512sum shuf sleep sort stat strings sum tac tail tar tee"
    " test touch tr tree true tty type uname unexpand uniq uptime wc which who whoami xxd yes zcat zgrep"
)
"""To these any argument is a name or a pattern."""

_EVALUATING_BUILTINS = frozenset(("test", "[", "printf", "read", "wait", "getopts", "cd", "exit", "return", "shift"))
"""Shells expand an array index in their arguments, quoted or not."""

_GIT_SUBCOMMANDS = _names(
    "add am annotate apply blame branch cat-file checkout cherry cherry-pick clone commit count-objects describe diff"
    " diff-tree fetch for-each-ref format-patch fsck gc grep init log ls-files ls-remote ls-tree merge merge-base mv"
    " name-rev pull push range-diff rebase reflog remote reset restore rev-list rev-parse revert rm shortlog show"
    " show-ref stash status switch tag var version whatchanged"
)
_GIT_GLOBALS = frozenset(("--no-pager", "-P", "--version", "--no-optional-locks", "--bare", "--literal-pathspecs"))
_GIT_OPTIONS = (
    "--config", "--config-env", "--exec-path", "--upload-pack", "--receive-pack", "--exec", "--ext-diff", "--textconv",
    "--open-files-in-pager", "--template", "--output", "--output-directory", "--git-dir", "--work-tree",
    "--separate-git-dir", "--edit", "--interactive", "--gpg-sign", "--strategy", "--server-option", "--filters",
)  # fmt: skip
_GIT_LETTERS = {
    "clone": ("-c", "-u"), "fetch": ("-u",), "pull": ("-u", "-s", "-X", "-S"), "rebase": ("-x", "-i", "-s", "-X", "-S"),
    "grep": ("-O",), "add": ("-i", "-e", "-p"), "commit": ("-c", "-e", "-p", "-S"), "merge": ("-s", "-X", "-S", "-e"),
    "tag": ("-s", "-u", "-e"), "am": ("-i", "-S"), "cherry-pick": ("-e", "-S", "-s", "-X"),
    "revert": ("-e", "-S", "-s"), "format-patch": ("-o",),
}  # fmt: skip

_SED_SCRIPT = re.compile(
    r"(?:(?:[0-9]+|\$|/(?:[^/\\\n]|\\[^\n])*/)(?:,(?:\+?[0-9]+|\$|/(?:[^/\\\n]|\\[^\n])*/))?!?\s*)?"
    r"(?:[pdq=]|s(?P<mark>[/|,#:])(?:(?!(?P=mark))[^\\\n]|\\[^\n])*(?P=mark)(?:(?!(?P=mark))[^\\\n]|\\[^\n])*(?P=mark)[gpiI0-9]*)"
)
_AWK_ACTS = re.compile(r"system|getline|\||@|<|\bclose\b|\bfflush\b|\bprintf?\b[^;}]*>|ARGV|ENVIRON|PROCINFO|\\")


def runs_something_else(argv: Sequence[str]) -> bool:
    """Whether a command makes its program run another one, or code that the command itself holds."""
    program, arguments = argv[0].rsplit("/", 1)[-1], argv[1:]
    if program in _WRAPPERS:
        return bool(arguments) or program != "env"
    if _INTERPRETERS.fullmatch(program):
        return not _only_names_a_script(arguments)
    if program in _AWKS:
        return not _is_harmless_awk(arguments)
    if program in ("sed", "gsed"):
        return not _is_harmless_sed(arguments)
    if program == "git":
        return not _is_harmless_git(arguments)
    if program in _EVALUATING_BUILTINS and any("$(" in argument or "`" in argument for argument in arguments):
        return True
    forbidden = _OPTIONS.get(program, ())
    if any(_gives_away(argument, forbidden) for argument in arguments):
        return True
    return program not in _TAKE_TEXT and _hand_over(program, arguments)


def _hand_over(program: str, arguments: Sequence[str]) -> bool:
    """Whether arguments tell a program that may understand them to start another one."""
    operands = [argument for argument in arguments if not argument.startswith("-")]
    if operands and operands[0] in _STARTING_WORDS:
        return True
    if program == "sqlite3" and any(_OF_SQLITE.search(operand) for operand in operands[1:]):
        return True
    if any(option.startswith("-") and _A_SHELL.fullmatch(value) for option, value in pairwise(arguments)):
        return True
    return any(_STARTS_A_PROGRAM.search(argument) for argument in arguments)


def _gives_away(argument: str, forbidden: Sequence[str]) -> bool:
    return bool(_SAYS_SO.search(argument)) or _is_one_of(argument, forbidden)


def _is_one_of(argument: str, forbidden: Sequence[str]) -> bool:
    """Whether an argument is one of the options: with its value behind it, shortened, or among bundled letters."""
    name = argument.split("=", 1)[0]
    for option in forbidden:
        if name == option:
            return True
        if option.startswith("--"):
            # Programs take any beginning of a long option that is clear to them.
            if len(name) > len("--") and name.startswith("--") and option.startswith(name):
                return True
        elif len(option) == len("-x") and option[0] == argument[:1] == "-" != argument[1:2] and option[1] in argument:
            return True
    return False


def _only_names_a_script(arguments: Sequence[str]) -> bool:
    """Whether an interpreter is told of a script file, or asked for its version."""
    if not arguments:
        return False
    first = arguments[0]
    return (len(arguments) == 1 and first in _INFORMATION) or (
        not first.startswith(("-", "+")) and not first.startswith(("/dev/", "/proc/")) and ":" not in first
    )


def _is_harmless_awk(arguments: Sequence[str]) -> bool:
    """Whether the program text only reads and prints; its options may set the separator and variables."""
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in ("-F", "-v") and rest:
            value = rest.pop(0)
        elif option[:2] in ("-F", "-v") and len(option) > len("-F"):
            value = option[2:]
        else:
            return False
        if _AWK_ACTS.search(value.replace("|", "") if option[:2] == "-F" else value):
            return False
    return bool(rest) and not _AWK_ACTS.search(rest[0]) and not any("=" in operand for operand in rest[1:])


def _is_harmless_sed(arguments: Sequence[str]) -> bool:
    """Whether the script only prints, deletes or substitutes; nothing is written and nothing run."""
    rest = [argument for argument in arguments if argument not in ("-n", "-E", "-r", "-e", "--quiet", "--silent")]
    scripts = [after for option, after in pairwise(arguments) if option == "-e"] or rest[:1]
    if not scripts or any(argument.startswith("-") for argument in rest):
        return False
    return all(_SED_SCRIPT.fullmatch(part.strip()) for script in scripts for part in script.split(";"))


def _is_harmless_git(arguments: Sequence[str]) -> bool:
    """Whether a known subcommand is used, without options by which git runs another program."""
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "-C" and rest:
            rest.pop(0)
        elif option not in _GIT_GLOBALS:
            return False
        elif option == "--version":
            return True
    if not rest or rest[0] not in _GIT_SUBCOMMANDS:
        return False
    forbidden = (*_GIT_OPTIONS, *_GIT_LETTERS.get(rest[0], ()))
    return not any("::" in argument or _gives_away(argument, forbidden) for argument in rest[1:])
