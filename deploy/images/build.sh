#!/usr/bin/env bash
# Builds the container images of employees and sidecars, without any registry of images.
#
#   deploy/images/build.sh [compute] [browser] [employee]      all, unless some are named; what is built already is left alone
#
# The base of each is Debian, made by mmdebstrap, or the image that EMPLA_BASE_IMAGE names: one that has Python 3.13 and the
# packages below. Python packages are taken from the lock file by pip, here; the build itself has no network.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly PYTHON=3.13 SUITE=trixie
readonly PACKAGES=(python3 ca-certificates libnl-route-3-200 catatonit)
readonly BROWSER_PACKAGES=(chromium-headless-shell fonts-liberation)
# Nobody becomes another or reads about it there; without the second half Chromium draws in software, as it has to anyway where there is no GPU.
readonly UNWANTED=(/usr/bin/newgrp /usr/bin/sg /usr/bin/su /usr/share/doc /usr/share/man /usr/share/locale
  '/usr/lib/*/libLLVM*' '/usr/lib/*/libgallium*' '/usr/lib/*/libz3*' '/usr/lib/chromium/libVkLayer*')
readonly SHARED_CODE=(workstation proto/empla)
readonly LABEL=empla.inputs

main() {
  local kind
  [[ $# -gt 0 ]] || set -- compute browser employee
  for kind in "$@"; do
    [[ $kind == @(compute|browser|employee) ]] || fail "There is no image '$kind'; there are compute, browser and employee"
  done
  [[ -x .venv/bin/python ]] || fail "Run make setup first: its Python fetches the packages"
  for kind in "$@"; do
    image "$kind"
  done
}

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

# image KIND: its image, out of our code and what it shares with all versions of itself.
image() {
  local kind=$1 name=localhost/empla/sidecar-$1 place=sidecars/$1 like=$1 packages=localhost/empla/packages:$1
  [[ $kind != employee ]] || { name=localhost/empla/employee place=agent like=compute; }
  local base=${EMPLA_BASE_IMAGE:-localhost/empla/base:$like}
  [[ -n ${EMPLA_BASE_IMAGE:-} ]] || base "$like"
  build "$packages" "$base" deploy/images/Containerfile fetch_packages "$kind"
  build "$name:latest" "$packages" "$place/Containerfile" copy_code "$kind"
}

# code_of KIND: our packages in its image, and its first program.
code_of() { if [[ $1 == employee ]]; then echo agent employee.py; else echo sidecars entry.sh; fi; }

# build NAME BASE CONTAINERFILE STEP KIND: STEP fills the context, and its inputs decide whether there is anything to do.
build() ( # a process of its own, which removes the context at its end
  local name=$1 base=$2 containerfile=$3 step=$4 kind=$5 state context
  state=$({ base_id "$base"; cat "$containerfile"; "inputs_of_$step" "$kind"; } | cksum | cut -d ' ' -f 1)
  if is_built "$name" "$state"; then
    return
  fi
  say "Building $name"
  context=$(mktemp -d)
  trap 'rm -rf "$context"' EXIT
  "$step" "$kind" "$context"
  DOCKER_BUILDKIT=0 docker build --network none --build-arg "BASE=$base" --label "$LABEL=$state" --tag "$name" \
    --file "$containerfile" "$context" >"$context/log" 2>&1 || fail "$(<"$context/log")"
)

base_id() { docker image inspect --format '{{.Id}}' "$1" || fail "There is no image $1"; }

is_built() { [[ $(docker image inspect --format "{{index .Config.Labels \"$LABEL\"}}" "$1" 2>/dev/null) == "$2" ]]; }

base() {
  local kind=$1 name=localhost/empla/base:$1 state packages path options=()
  packages=("${PACKAGES[@]}")
  [[ $kind != browser ]] || packages+=("${BROWSER_PACKAGES[@]}")
  state=$(printf '%s\n' "$SUITE" "${packages[@]}" "${UNWANTED[@]}" | cksum | cut -d ' ' -f 1)
  if is_built "$name" "$state"; then
    return
  fi
  install_mmdebstrap
  say "Making $name from Debian $SUITE"
  for path in "${UNWANTED[@]}"; do
    options+=("--dpkgopt=path-exclude=${path}$([[ $path == *'*' || $path == /usr/bin/* ]] || echo '/*')")
  done
  packages=$(IFS=, && echo "${packages[*]}")
  mmdebstrap --quiet --variant=minbase --include="$packages" "${options[@]}" \
    --customize-hook='find "$1" -xdev -type f -perm /6000 -exec chmod ug-s {} +' "$SUITE" - |
    docker import --change "LABEL $LABEL=$state" - "$name" >/dev/null
}

install_mmdebstrap() {
  command -v mmdebstrap >/dev/null && return
  [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null || fail "Install mmdebstrap first, or name a base in EMPLA_BASE_IMAGE"
  apt-get -o DPkg::Lock::Timeout=180 update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=180 install -qq --yes --no-install-recommends mmdebstrap >&2
}

inputs_of_fetch_packages() { cat deploy/requirements.txt deploy/images/{build.sh,requirements.py,"$1.txt"}; }

# fetch_packages KIND CONTEXT
fetch_packages() {
  local machine minor platforms=()
  machine=$(uname -m)
  for minor in {41..5}; do
    platforms+=(--platform "manylinux_2_${minor}_$machine")
  done
  .venv/bin/python deploy/images/requirements.py deploy/requirements.txt "deploy/images/$1.txt" "$PYTHON" >"$2/requirements.txt"
  .venv/bin/python -m pip -qq --disable-pip-version-check --no-input install --no-deps --no-compile --require-hashes \
    --only-binary :all: --implementation cp --python-version "$PYTHON" "${platforms[@]}" --platform "manylinux2014_$machine" \
    --target "$2/packages" --requirement "$2/requirements.txt"
  rm -rf "$2/packages/bin"
}

inputs_of_copy_code() {
  local code program
  read -r code program < <(code_of "$1")
  cat "deploy/images/$program" pyproject.toml
  find "$code" "${SHARED_CODE[@]}" -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 cksum
}

# copy_code KIND CONTEXT
copy_code() {
  local code program
  read -r code program < <(code_of "$1")
  mkdir "$2/code"
  cp -r "$code" "${SHARED_CODE[@]}" "$2/code/"
  find "$2/code" -name __pycache__ -type d -prune -exec rm -rf {} +
  # What it says of itself: its version.
  .venv/bin/python -c 'from importlib.metadata import metadata as m; print(m("empla"))' >"$2/METADATA"
  install -D -m 0644 "$2/METADATA" "$2/code/empla-0.dist-info/METADATA"
  cp "deploy/images/$program" "$2/"
}

main "$@"
