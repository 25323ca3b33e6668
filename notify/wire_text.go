package notify

import "encoding/json"

// A WireText is a field that one account's gateway writes as text and another's as a number. Anything else counts as left
// out: a refusal is not lost for a field that nobody needs.
type WireText string

// UnmarshalJSON reads text or a number.
func (w *WireText) UnmarshalJSON(b []byte) error {
	var text string
	var number json.Number
	switch {
	case json.Unmarshal(b, &text) == nil:
		*w = WireText(text)
	case json.Unmarshal(b, &number) == nil:
		*w = WireText(number)
	}
	return nil
}
