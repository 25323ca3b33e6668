// Package sheet draws what is printed at the counter: our own label and address sheet, the hand-over manifest, and many
// labels as one document. It draws what it is given and knows no database; what may be printed, by whom and how often is
// decided and counted by package courier.
//
// A sheet is refused when a character of it stands in no font, for a printer would put a box there and a courier would
// read another name.
package sheet
