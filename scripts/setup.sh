#!/usr/bin/env bash
# Installs the Debian packages that emsd needs and this machine lacks, and says which and why. It leaves no PostgreSQL
# service running: demo and tests start private servers, in directories of their own, which are gone afterwards.
#
#   scripts/setup.sh        what make demo and make bench need: the PostgreSQL server programs, and fonts for printed sheets
#   scripts/setup.sh test   also what make test needs: a C compiler for Go's race detector, Chromium for the pages,
#                           poppler for printed sheets, curl for the calls of README.md, and the tools of scripts/package.json (into scripts/node_modules)
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }

# The same search as migrations/privatepg.
have_postgres() {
	local bin
	for bin in "${PGBIN:-}" /usr/lib/postgresql/*/bin "$(dirname "$(readlink -f "$(command -v postgres || echo /nowhere/postgres)")")"; do
		if [ -n "$bin" ] && [ -x "$bin/postgres" ] && [ -x "$bin/initdb" ]; then
			return 0
		fi
	done
	return 1
}

have_compiler() {
	local cc
	cc=$(go env CC)
	command -v "${cc%% *}" >/dev/null && echo '#include <stdlib.h>' | $cc -E - >/dev/null 2>&1
}

have_fonts() {
	[ -e /usr/share/fonts-droid-fallback/truetype/DroidSansFallback.ttf ] && [ -e /usr/share/fonts/truetype/hanazono/HanaMinA.ttf ]
}

have_tools() {
	cmp -s scripts/package-lock.json scripts/node_modules/.installed
}

install_tools() {
	say "npm ci in scripts: axe-core and the OpenAPI linter"
	npm ci --prefix scripts --no-audit --no-fund --loglevel=error
	cp scripts/package-lock.json scripts/node_modules/.installed
}

# Debian's packages would make a cluster "main" and start it. A file in createcluster.d tells them not to; it goes away
# again, so that a later installation by the administrator is not changed by us.
no_cluster=/etc/postgresql-common/createcluster.d/emsd-setup.conf
without_cluster() {
	if [ -e "$no_cluster" ]; then
		return
	fi
	trap 'rm -f "$no_cluster"' EXIT
	mkdir -p "$(dirname "$no_cluster")"
	echo 'create_main_cluster = false' >"$no_cluster"
}

install() {
	local package
	export DEBIAN_FRONTEND=noninteractive
	for package in "$@"; do
		if ! apt-cache show "$package" >/dev/null 2>&1; then
			say "apt-get update, for apt does not know $package yet"
			apt-get update -qq
			break
		fi
	done
	say "apt-get install $*"
	if ! apt-get install -y -qq --no-install-recommends "$@"; then
		say "apt-get update, for the package lists may be old; then once more"
		apt-get update -qq
		apt-get install -y -qq --no-install-recommends "$@"
	fi
}

if ! command -v go >/dev/null; then
	say "go is not in PATH: install Go $(sed -n 's/^go //p' go.mod) or newer from https://go.dev/dl/"
	exit 1
fi

missing=()
if ! have_postgres; then
	say "missing: PostgreSQL server programs (postgres, initdb), for private servers on which demo and tests run"
	missing+=(postgresql)
fi
if [ "${1:-}" = test ] && ! have_compiler; then
	say "missing: a C compiler with headers, for go test -race"
	missing+=(gcc libc6-dev)
fi
if ! have_fonts; then
	say "missing: fonts with Chinese characters, for the sheets that are printed"
	missing+=(fonts-droid-fallback fonts-hanazono)
fi
if [ "${1:-}" = test ] && ! command -v chromium >/dev/null; then
	say "missing: Chromium, in which the pages are tested"
	missing+=(chromium)
fi
if [ "${1:-}" = test ] && ! command -v pdftotext >/dev/null; then
	say "missing: poppler, with which printed sheets are read back"
	missing+=(poppler-utils)
fi
if [ "${1:-}" = test ] && ! command -v curl >/dev/null; then
	say "missing: curl, for the calls of README.md are made as they stand there"
	missing+=(curl)
fi
if [ "${1:-}" = test ] && ! command -v npm >/dev/null; then
	say "missing: npm, for the tools of scripts/package.json"
	missing+=(npm)
fi

if [ ${#missing[@]} -eq 0 ]; then
	if [ "${1:-}" = test ] && ! have_tools; then
		install_tools
	else
		say "nothing to install"
	fi
	exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	say "cannot install here without being root on Debian; run as root:"
	say "    apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
	exit 1
fi
without_cluster
install "${missing[@]}"
if ! have_postgres; then
	say "PostgreSQL was installed, but its server programs are not in /usr/lib/postgresql/*/bin"
	exit 1
fi
if [ "${1:-}" = test ] && ! have_tools; then
	install_tools
fi
say "done"
