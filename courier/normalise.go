package courier

import (
	"cmp"
	"strings"
	"unicode"

	"emsd/courier/vault"
)

// Normalise brings an application into the one form that is checked, compared and stored: half-width digits and
// letters, no stray blanks, upper-case numbers, a bare eleven-digit phone. Names keep their characters: Unicode
// normalisation would replace rare ones by others.
func Normalise(a Application) Application {
	a.PermitNo = normaliseNo(a.PermitNo)
	a.ApplicationNo = normaliseNo(a.ApplicationNo)
	a.StationCode = normaliseNo(a.StationCode)
	for _, s := range []*string{&a.Business, &a.Route, &a.Ground, &a.Consent.Source, &a.Consent.NoticeVersion, &a.PaymentMethod} {
		*s = strings.TrimSpace(*s)
	}
	a.ApprovedAt, a.Consent.At = a.ApprovedAt.UTC(), a.Consent.At.UTC()
	a.Recipient = normaliseRecipient(a.Recipient)
	return a
}

func normaliseRecipient(r Recipient) Recipient {
	r.Name = vault.Conceal(normaliseName(r.Name.Reveal()))
	r.Phone = vault.Conceal(normalisePhone(r.Phone.Reveal()))
	r.IDNo = vault.Conceal(strings.ReplaceAll(normaliseNo(r.IDNo.Reveal()), " ", ""))
	r.Province, r.City, r.County = strings.TrimSpace(r.Province), strings.TrimSpace(r.City), strings.TrimSpace(r.County)
	r.Address = vault.Conceal(oneLine(r.Address.Reveal()))
	r.Language = cmp.Or(strings.ToLower(strings.TrimSpace(r.Language)), InChinese)
	return r
}

func normaliseNo(s string) string { return strings.ToUpper(strings.TrimSpace(halfWidth(s))) }

// normaliseName unifies the dots that stand between the parts of a name (阿依古丽·买买提) with U+00B7.
func normaliseName(s string) string {
	return strings.NewReplacer("•", "·", "‧", "·", "・", "·", "･", "·", "．", "·").Replace(strings.TrimSpace(s))
}

// normalisePhone gives the eleven digits of a Chinese mobile number however it was written; what is no such number
// comes back for the check to refuse.
func normalisePhone(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '-' || r == '(' || r == ')' || r == '‐' || r == '–' || r == '—' || unicode.IsSpace(r) {
			return -1
		}
		return r
	}, halfWidth(s))
	for _, prefix := range []string{"+86", "0086", "86"} {
		if rest, ok := strings.CutPrefix(s, prefix); ok && len(rest) == 11 {
			return rest
		}
	}
	return s
}

// halfWidth turns full-width ASCII (１Ａ－) and the ideographic space into plain ASCII.
func halfWidth(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '！' && r <= '～':
			return r - '！' + '!'
		case r == '\u3000':
			return ' '
		}
		return r
	}, s)
}

// oneLine turns every run of blanks and line breaks into one space.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
