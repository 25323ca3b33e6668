#!/usr/bin/env bash
# Scans our own pages with wapiti (Debian package), on this machine only: starts the demo with its data on loopback, signs in, and lets
# the scanner crawl and attack console, residents' page and API, each for a bounded time. It stops everything that it has started.
# Exit 1 for a finding of level 2 (medium) or more that is not in the list "known" below, or for any answer 5xx.
#
#   scripts/scan.sh [DIRECTORY]     where reports are left; tmp/scan by default
#   SCAN_SECONDS=45                 how long the crawl of each face may take; each of the attacks takes a sixth of it at most
#
# Takes about ten minutes, so it is no part of make test. What was found, and what was done: docs/security.md.
set -euo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.."
out=${1:-tmp/scan}
seconds=${SCAN_SECONDS:-45}
say() { echo "scan: $*"; }

missing=()
for tool in wapiti curl jq; do
	command -v "$tool" >/dev/null || missing+=("$tool")
done
if [ ${#missing[@]} -gt 0 ]; then
	say "apt-get install ${missing[*]}"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

rm -rf "$out"
mkdir -p "$out/sessions"
go build -o bin/ ./cmd/emsd
./bin/emsd demo --keep >"$out/demo.log" 2>&1 &
demo=$!
stop() {
	kill "$demo" 2>/dev/null || true
	wait "$demo" 2>/dev/null || true
}
trap stop EXIT
say "waiting for the demo's data"
for _ in $(seq 300); do
	grep -q '^ *residents ' "$out/demo.log" && break
	kill -0 "$demo" || { tail -20 "$out/demo.log"; exit 1; }
	sleep 1
done
sleep 1
console=$(sed -n 's/^ *console  *\(http[^ ]*\)console\/$/\1/p' "$out/demo.log")
token=$(sed -n 's/^ *token  *//p' "$out/demo.log")
read -r page digits < <(awk '/^ *residents /{on=1; next} on && /accepted/{print $1, $2; exit}' "$out/demo.log")
case "$console $page" in
http://127.0.0.1:*\ http://127.0.0.1:*/t/*) ;;
*) say "no loopback addresses in $out/demo.log"; exit 1 ;;
esac

# cookie FACE PATH NAME VALUE: as wapiti reads it.
cookie() {
	jq -n --arg path "$2" --arg name "$3" --arg value "$4" \
		'{"127.0.0.1": {($path): {($name): {value: $value, expires: null, secure: false, port: null, version: 0}}}}' >"$out/$1.cookie"
}
# cookie_of ADDRESS FORM…: the cookie that a form is answered with.
cookie_of() {
	local to=$1
	shift
	curl -fsS -o /dev/null -D - -H 'Sec-Fetch-Site: same-origin' "$@" "$to" | tr -d '\r' | sed -n 's/^[Ss]et-[Cc]ookie: *[^=]*=\([^;]*\);.*/\1/p' | head -1
}
# sign_in FACE NAME: a session of the console as somebody of the demo.
sign_in() {
	local password value
	password=$(awk -v n="$2" '$1 == n {print $2; exit}' "$out/demo.log")
	value=$(cookie_of "${console}console/sign-in" --data-urlencode "name=$2" --data-urlencode "password=$password")
	[ -n "$value" ] || { say "$2 cannot sign in"; exit 1; }
	cookie "$1" / emsd_console "$value"
}

# Debian 12's wapiti 3.0.4 cannot read -x under its Python 3.11 (flags in the middle of an expression): the one function is given anew.
cat >"$out/wapiti.py" <<'PYTHON'
import re
import wapitiCore.net.crawler as crawler
from wapitiCore.main.wapiti import wapiti_main
crawler.wildcard_translate = lambda pattern: re.compile("(?s:" + ".*".join(map(re.escape, pattern.split("*"))) + r")\Z")
wapiti_main()
PYTHON

# Without those that ask a host on the internet (ssrf, xxe, wapp, nikto); permanentxss, which looks at every page again for each value that
# it has stored, has a test of ours instead (TestWhatAFieldHoldsIsTextWhereverItIsShown).
modules=backup,blindsql,cookieflags,crlf,csp,csrf,exec,file,http_headers,methods,redirect,shellshock,sql,xss

# face NAME ADDRESS OPTION…: one scan.
face() {
	local name=$1 address=$2
	shift 2
	say "$name: $address"
	/usr/bin/python3 "$out/wapiti.py" -u "$address" --scope folder --store-session "$out/sessions" --flush-session --no-bugreport --max-scan-time "$seconds" --max-attack-time "$((seconds / 6))" \
		-S normal -d 5 --max-links-per-page 40 --max-files-per-dir 20 -t 10 -v 1 -f json -o "$out/$name.json" \
		-m "$modules" "$@" >"$out/$name.log" 2>&1 ||
		{ tail -20 "$out/$name.log"; exit 1; }
	[ -s "$out/$name.json" ] || { say "$name left no report"; exit 1; }
}

# What would end the scanner's own session or another one's, or make tokens without end.
keep=(-x "${console}console/sign-out*" -x "${console}console/account/password*" -x "${console}console/account/second-factor*" -x "${console}console/settings/users/*" -x "${console}console/settings/tokens*")
sign_in supervisor zhuguan
face supervisor "${console}console/" -c "$out/supervisor.cookie" "${keep[@]}"
sign_in administrator guanli
face administrator "${console}console/settings" -s "${console}console/audit" -c "$out/administrator.cookie" "${keep[@]}"
cookie resident "/" emsd_t "$(cookie_of "$page" --data "digits=$digits")"
face resident "$page" -s "$page?lang=en" -c "$out/resident.cookie"
calls=()
for call in 'deliveries?status=accepted&permit_no=A1&waybill_no=12&updated_after=2026-01-01T00:00:00Z&limit=2&cursor=x' 'events?after=0&limit=2' 'cases?kind=lost&cursor=x' 'calls?cursor=x' \
	'returns?cursor=x' 'codes/unknown?cursor=x' 'statistics?by=county&month=2026-10' 'statistics/ageing?station_code=1' 'do-not-send?cursor=x' 'webhooks?cursor=x'; do
	calls+=(-s "${console}v1/$call")
done
face api "${console}v1/deliveries" "${calls[@]}" -H "Authorization: Bearer $token"
face stranger "${console}console/sign-in"

# known are findings that are none, each with its reason in docs/security.md: category, face.
known='[
	["Cross Site Request Forgery", "supervisor"], ["Cross Site Request Forgery", "administrator"], ["Cross Site Request Forgery", "resident"], ["Cross Site Request Forgery", "stranger"]
]'
for name in supervisor administrator resident api stranger; do
	jq --arg face "$name" --argjson known "$known" '
		[(.vulnerabilities, .anomalies) | to_entries[] | .key as $category | .value[] | {face: $face, category: $category, level, method, path, parameter, info}]
		| map(. + {known: ([.category, .face] as $k | $known | any(. == $k))})' "$out/$name.json"
done | jq -s add >"$out/findings.json"
jq -r 'group_by([.face, .category, .info]) | .[] | "\(.[0].face)\t\(.[0].category)\tlevel \(.[0].level)\t\(length) times\t\(if .[0].known then "known" else "NEW" end)\t\(.[0].method) \(.[0].path)\t\(.[0].info)"' "$out/findings.json"
for name in supervisor administrator resident api stranger; do
	say "$name: $(jq -r '"\(.infos.crawled_pages_nbr // "?") pages, \([.vulnerabilities[]] | flatten | length) findings, \([.anomalies[]] | flatten | length) anomalies"' "$out/$name.json")"
done
bad=$(jq '[.[] | select(.known | not) | select(.level >= 2 or .category == "Internal Server Error")] | length' "$out/findings.json")
if [ "$bad" -gt 0 ]; then
	say "$bad findings of level 2 or more: see $out/findings.json"
	exit 1
fi
say "nothing of level 2 or more"
