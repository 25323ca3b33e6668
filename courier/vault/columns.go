package vault

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Names of the sealed columns, as they enter the associated data. They outlive a renaming in the schema: changing one
// makes every value sealed under it unreadable.
const (
	ColumnName    = "deliveries.name"
	ColumnPhone   = "deliveries.phone"
	ColumnIDNo    = "deliveries.id_no"
	ColumnAddress = "deliveries.address"
	ColumnLabel   = "labels.pdf"
	ColumnScan    = "scans.desc" // bound to the delivery's id

	ColumnPassword            = "deliveries.password"
	ColumnRetelling           = "retellings.desc"  // bound to the delivery's id
	ColumnAnswer              = "raw_answers.body" // bound to the delivery's id
	ColumnAgent               = "returns.agent_name"
	ColumnNewAddress          = "readdressings.address"
	ColumnInterventionAddress = "interventions.address"
	ColumnUploadName          = "uploads.name"
	ColumnUploadFile          = "uploads.file"
	ColumnUploadRow           = "upload_rows.row" // bound to the upload's id
	ColumnTOTP                = "users.totp"

	ColumnWebhookSecret    = "webhook_endpoints.secret"
	ColumnWebhookOldSecret = "webhook_endpoints.old_secret"
	ColumnWebhookKey       = "webhook_endpoints.key"
	ColumnWebhookOldKey    = "webhook_endpoints.old_key"
	ColumnCourier          = "manifests.courier" // who took the envelopes away
	ColumnReply            = "message_replies.text"
)

// A Column is a sealed column of the schema, and how rotation walks through it.
type Column struct {
	Name  string // in the associated data: "deliveries.name"
	Table string
	Field string // the bytea column: "name_sealed"; NULL and empty mean that nothing is stored
	Key   []Part // the primary key in order; the first part is the row's uuid in the associated data
	Chunk int    // rows a transaction
}

// A Part is one column of a primary key.
type Part struct{ Name, Type string }

// Columns are all sealed columns. A column that is missing here is never re-sealed, so the key it was sealed under
// would be thought unused; TestEverySealedColumnIsRotated compares this list with the schema.
var Columns = []Column{
	{ColumnName, "deliveries", "name_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnPhone, "deliveries", "phone_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnIDNo, "deliveries", "id_no_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnAddress, "deliveries", "address_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnLabel, "labels", "pdf_sealed", []Part{{"delivery_id", "uuid"}}, 20}, // a PDF is some 100 kB
	{ColumnScan, "scans", "desc_sealed",
		[]Part{{"delivery_id", "uuid"}, {"op_at", "timestamptz"}, {"op_code", "text"}, {"org_code", "text"}}, 500},
	{ColumnPassword, "deliveries", "password_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnRetelling, "retellings", "desc_sealed",
		[]Part{{"delivery_id", "uuid"}, {"op_at", "timestamptz"}, {"op_code", "text"}, {"org_code", "text"}, {"text_print", "bigint"}}, 500},
	{ColumnAnswer, "raw_answers", "body_sealed", []Part{{"delivery_id", "uuid"}, {"asked_at", "timestamptz"}}, 200},
	{ColumnAgent, "returns", "agent_name_sealed", []Part{{"delivery_id", "uuid"}}, 500},
	{ColumnNewAddress, "readdressings", "address_sealed", []Part{{"delivery_id", "uuid"}}, 500},
	{ColumnInterventionAddress, "interventions", "address_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnUploadName, "uploads", "name_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnUploadFile, "uploads", "file_sealed", []Part{{"id", "uuid"}}, 1}, // up to MaxUpload
	{ColumnUploadRow, "upload_rows", "row_sealed", []Part{{"upload_id", "uuid"}, {"number", "integer"}}, 500},
	{ColumnTOTP, "users", "totp_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnWebhookSecret, "webhook_endpoints", "secret_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnWebhookOldSecret, "webhook_endpoints", "old_secret_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnWebhookKey, "webhook_endpoints", "key_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnWebhookOldKey, "webhook_endpoints", "old_key_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnCourier, "manifests", "courier_sealed", []Part{{"id", "uuid"}}, 500},
	{ColumnReply, "message_replies", "text_sealed", []Part{{"id", "uuid"}}, 500},
}

// normalised is the form in which a value is looked up, so that a clerk who types a number with blanks, in full width
// or with a small x finds it. Only phones and ID numbers have one; every other value is taken as it is.
func normalised(column, value string) string {
	switch column {
	case ColumnPhone:
		value = squeeze(value)
		if rest, ok := strings.CutPrefix(value, "+86"); ok {
			return rest
		}
		return value
	case ColumnIDNo:
		return strings.ToUpper(squeeze(value))
	}
	return value
}

// squeeze folds full-width forms and drops blanks and dashes.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, norm.NFKC.String(s))
}
