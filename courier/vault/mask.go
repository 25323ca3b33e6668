package vault

import (
	"strings"
	"unicode"
)

// MaskName keeps the first character of a name, with the marks that belong to it: 张三 becomes 张**. The stars do not
// count, so that the length stays hidden; a name of one character is hidden whole.
func MaskName(s Secret) string {
	name := strings.TrimSpace(s.Reveal())
	if name == "" {
		return ""
	}
	first := firstCharacter(name)
	if first == name {
		return "**"
	}
	return first + "**"
}

// firstCharacter is the first rune and what combines with it: accents, and the variation selectors by which rare
// ideographs are told apart.
func firstCharacter(s string) string {
	for i, r := range s {
		if i > 0 && !unicode.Is(unicode.M, r) {
			return s[:i]
		}
	}
	return s
}

// MaskPhone keeps the first three and the last four digits of a mobile number, 138****0000; of anything else the last
// four characters, if that is at most half of it.
func MaskPhone(s Secret) string {
	phone := []rune(strings.TrimSpace(s.Reveal()))
	switch n := len(phone); {
	case n == 0:
		return ""
	case n == 11:
		return string(phone[:3]) + "****" + string(phone[7:])
	case n >= 8:
		return "****" + string(phone[n-4:])
	}
	return "****"
}

// MaskAddress hides all of it: province, city and county stand in columns of their own, in clear.
func MaskAddress(s Secret) string {
	if s.IsZero() {
		return ""
	}
	return "***"
}

// MaskID keeps the first and the last character of an 18-character ID number. That is enough to tell two papers on a
// desk apart, and says neither the birthplace nor the date of birth nor the sex, which stand in between.
func MaskID(s Secret) string {
	id := []rune(strings.TrimSpace(s.Reveal()))
	switch len(id) {
	case 0:
		return ""
	case 18:
		return string(id[0]) + strings.Repeat("*", 16) + string(id[17])
	}
	return strings.Repeat("*", 4)
}
