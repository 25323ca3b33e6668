package notify

import "strings"

// IsMobile reports whether a text is a mainland mobile number, eleven digits without a prefix (dossier F).
func IsMobile(text string) bool {
	if len(text) != 11 || text[0] != '1' || text[1] < '3' {
		return false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}

// MobileOf gives the eleven digits of a mainland mobile number, however it is written: with +86, 0086 or 86, spaces or hyphens.
func MobileOf(text string) (digits string, ok bool) {
	digits = strings.Map(func(c rune) rune {
		if strings.ContainsRune(" -\t\r\n", c) {
			return -1
		}
		return c
	}, text)
	for _, prefix := range []string{"+86", "0086", "86"} {
		if rest, cut := strings.CutPrefix(digits, prefix); cut && len(rest) == 11 {
			digits = rest
		}
	}
	return digits, IsMobile(digits)
}
