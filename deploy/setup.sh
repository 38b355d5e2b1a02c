#!/usr/bin/env bash
# Prepares this checkout: finds Python, makes .venv with the pinned dependencies, installs missing system packages.
# A second run finds nothing to do and returns at once.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly MINIMUM=3.12
readonly STAMP=.venv/.stamp

main() {
  local state
  state=$(state_of_inputs)
  if [[ -x .venv/bin/python && -f $STAMP && $(<"$STAMP") == "$state" ]]; then
    return
  fi
  make_venv
  install_dependencies
  install_sandbox_library
  install_chromium
  printf '%s\n' "$state" >"$STAMP"
}

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

state_of_inputs() {
  { pwd -P; cat pyproject.toml deploy/requirements.txt deploy/setup.sh; } | cksum
}

make_venv() {
  if is_usable .venv/bin/python && .venv/bin/python -c "import pip" && grep -q "$(pwd -P)/.venv\$" .venv/pyvenv.cfg; then
    return # whole, and made in this place: its programs hold absolute paths
  fi
  local python
  python=$(find_python) || python=$(install_python)
  say "Making .venv with $("$python" --version) from $python"
  "$python" -m venv --clear .venv
}

install_dependencies() {
  say "Installing the pinned dependencies into .venv (a minute or two the first time)"
  local pip=(.venv/bin/python -m pip -qq --disable-pip-version-check --no-input install)
  "${pip[@]}" --require-hashes -r deploy/requirements.txt
  "${pip[@]}" --no-deps --no-build-isolation -e .
}

# The sandbox of programs needs this library of the system's. All else works without: what cannot be installed is only said.
install_sandbox_library() {
  local package=libnl-route-3-200 library=libnl-route-3.so.200
  if [[ $(uname -s) != Linux || $(PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null) == *"$library"* ]]; then
    return
  fi
  if command -v apt-get >/dev/null && as_root true 2>/dev/null; then
    say "Installing $package: what nsjail, the sandbox of employees' programs, needs of the system"
    update_package_lists
    apt_install "$package" && return
  fi
  say "Employees cannot run programs until $library is installed (empla doctor tells more):
    sudo apt-get install $package     on Debian, Ubuntu
    sudo dnf install libnl3                   on Fedora, RHEL"
}

# The browser of employees; without it all else works, as above.
install_chromium() {
  local package=chromium-headless-shell
  if .venv/bin/python -c "from workstation.local.browser.requirements import find_chromium as f; f()" 2>/dev/null; then
    return
  fi
  if [[ $(uname -s) == Linux ]] && command -v apt-get >/dev/null && as_root true 2>/dev/null; then
    update_package_lists
    if apt-cache show "$package" >/dev/null 2>&1; then
      say "Installing $package: what employees read and use the web with"
      apt_install "$package" fonts-liberation && return # without any font pages have no text
    fi
  fi
  say "Employees cannot use the web until a Chromium is installed (empla doctor tells more), one of
    sudo apt-get install $package fonts-liberation            on Debian
    .venv/bin/playwright install --with-deps --only-shell chromium          elsewhere"
}

# is_recent PYTHON: it runs and is new enough. A pyenv shim exists for versions that are not selected, and then fails.
is_recent() { "$1" -c "import sys; sys.exit(sys.version_info[:2] < (${MINIMUM/./, }))" >/dev/null 2>&1; }

# is_usable PYTHON: it can also make a virtual environment; Debian ships that part as a package of its own.
is_usable() { is_recent "$1" && "$1" -c "import ensurepip, venv" >/dev/null 2>&1; }

# Interpreters that may do, best first: those that the tests run on, in PATH, then pyenv's, then uv's.
candidates() {
  local name versions="${PYENV_ROOT:-$HOME/.pyenv}/versions"
  for name in python3.13 python3.12 python3.14 python3; do
    command -v "$name" || true
  done
  for name in 3.13 3.12 3.14; do
    find "$versions" -mindepth 1 -maxdepth 1 -name "$name.*" 2>/dev/null | sort -rV | sed 's|$|/bin/python3|'
  done
  if command -v uv >/dev/null; then
    uv python find --no-project ">=$MINIMUM" 2>/dev/null || true
  fi
}

find_python() {
  local python
  while IFS= read -r python; do
    if is_usable "$python"; then
      printf '%s\n' "$python"
      return
    fi
  done < <(candidates)
  return 1
}

install_python() {
  local package
  if package=$(debian_python); then
    install_packages "$package: makes the virtual environment that everything runs in"
  elif command -v uv >/dev/null; then
    say "Installing Python with uv"
    uv python install --quiet 3.13 >&2 || true
  fi
  find_python || fail "\
empla needs Python $MINIMUM or newer with its venv module, and found none in PATH, pyenv or uv. Install one with
    apt install python3 python3-venv      on Debian 13, Ubuntu 24.04 and later
    pyenv install 3.13                    with pyenv (https://github.com/pyenv/pyenv)
    uv python install 3.13                with uv (https://docs.astral.sh/uv)
    brew install python@3.13              with Homebrew
and run this again."
}

# Prints the Debian package that brings a usable Python, when there is one.
debian_python() {
  local python version
  command -v apt-get >/dev/null || return 1
  while IFS= read -r python; do
    if [[ $python == /usr/bin/* ]] && is_recent "$python"; then
      "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
      return
    fi
  done < <(candidates)
  update_package_lists
  version=$(apt-cache policy python3 | sed -n 's/^ *Candidate: *\([0-9]*\.[0-9]*\).*/\1/p')
  [[ -n $version && $(printf '%s\n' "$MINIMUM" "$version" | sort -V | head -n 1) == "$MINIMUM" ]] || return 1
  printf 'python3-venv\n'
}

# install_packages "NAME: REASON"...: with apt where we may, else says what to install and stops.
install_packages() {
  local names=() entry
  say "These system packages are missing:"
  for entry in "$@"; do
    say "    $entry"
    names+=("${entry%%:*}")
  done
  as_root true || fail "Install them with: sudo apt-get install ${names[*]}"
  update_package_lists
  apt_install "${names[@]}"
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -qq --yes --no-install-recommends \
    "$@" >&2
}

update_package_lists() {
  if ! compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null; then
    as_root apt-get -o DPkg::Lock::Timeout=120 update -qq >&2 || true
  fi
}

# as_root COMMAND...: as we are when root, else with sudo if that asks for no password.
as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  else
    command -v sudo >/dev/null && sudo -n "$@"
  fi
}

main "$@"
