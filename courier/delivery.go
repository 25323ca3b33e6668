package courier

import (
	"time"

	"emsd/courier/vault"

	"github.com/google/uuid"
)

// A Clock tells the two times of the service. Now is business time: statuses, policies, quiet hours, poll intervals;
// a demo runs it faster. Wall is technical time: leases and the waits after technical failures.
type Clock struct {
	Now  func() time.Time
	Wall func() time.Time
}

// Business types and routes of an application (rules.md). Anything else is refused as unclassified.
const (
	Exchange  = "exchange"
	Extension = "extension"
	Change    = "change"

	RoutePoliceStation       = "police_station"
	RouteOnline              = "online"
	RouteRegistrationStation = "registration_station"
)

// Languages in which a resident is told.
const (
	InChinese = "zh"
	InEnglish = "en"
)

// Payment methods: who hands the applicant's money to whom.
const (
	Prepaid = "prepaid" // applicant pays before the order; EMS paymentMode 1
	Collect = "collect" // applicant, as recipient, pays the courier; EMS paymentMode 2
)

// A Recipient is the holder of the permit and where the envelope goes.
type Recipient struct {
	Name     vault.Secret
	Phone    vault.Secret // 11 digits
	IDNo     vault.Secret
	Province string // full national names, as the division list has them
	City     string
	County   string
	Address  vault.Secret // the rest, below the county
	Language string       // of messages: Chinese, unless the applicant chose English
}

// An Application is an approved permit as the permit system hands it over.
type Application struct {
	PermitNo        string
	ApplicationNo   string
	Business        string
	Route           string
	Ground          string
	IdentityChanged bool
	AddressChanged  bool
	StationCode     string
	Consent         Consent
	ApprovedAt      time.Time
	PaymentMethod   string
	Recipient       Recipient
}

// A Consent is the applicant's own choice of delivery.
type Consent struct {
	Source        string // platform or counter
	At            time.Time
	NoticeVersion string
}

// A Delivery is one permit on its way to its holder.
type Delivery struct {
	ID uuid.UUID
	Application
	StationClass      string
	Status            Status
	StatusSince       time.Time
	Rule              string // of a refusal
	Reason            string // of a refusal, the rule's sentence
	Zone              string
	FeeFen            int64
	PaidFen           int64
	RefundDueFen      int64
	RefundedFen       int64
	OrderNo           string
	WaybillNo         string
	HeldUntil         time.Time
	CancelRequestedAt time.Time
	NextPollAt        time.Time // zero when nothing is asked any more
	HandedOverAt      time.Time // to EMS's courier, as a clerk recorded it; zero when nobody did
	Receiver          string    // class of who or what received it, as it stands now
	Supersedes        uuid.UUID
	Seq               int // of the last event
	CreatedAt         time.Time
	UpdatedAt         time.Time
}

// A Payment is money received, or given back (Kind refund). Amounts are fen.
type Payment struct {
	ID            uuid.UUID
	DeliveryID    uuid.UUID
	Kind          string // payment or refund
	TransactionNo string
	Method        string // wechat, alipay, unionpay, cash
	AmountFen     int64
	PaidAt        time.Time
	RecordedAt    time.Time
	RecordedBy    string
	Reason        string // of a clerk who records it, for the audit; a machine gives none
}

// A Case is something that needs a person. It is about a delivery, or about what Subject names (webhook:ID).
type Case struct {
	ID         uuid.UUID
	DeliveryID uuid.UUID // uuid.Nil with a Subject
	Subject    string
	Kind       CaseKind
	OpenedAt   time.Time
	DueAt      time.Time
	Owner      string
	NextAction string
	Detail     string
	ClosedAt   time.Time
	Outcome    string
	ClosedBy   string
	Why        string
}

// A CaseKind names what is the matter; one open case of a kind per delivery.
type CaseKind string

const (
	CaseOrderRefused       CaseKind = "order_refused"
	CaseOrderUnknown       CaseKind = "order_unknown"
	CaseAddress            CaseKind = "address"
	CaseUnpaid             CaseKind = "unpaid"
	CaseStalled            CaseKind = "stalled"
	CaseUnknownCode        CaseKind = "unknown_code"
	CaseDeliveredElsewhere CaseKind = "delivered_elsewhere"
	CaseNotReceived        CaseKind = "not_received"
	CaseHeld               CaseKind = "held"
	CaseReturned           CaseKind = "returned"
	CaseSMSFailed          CaseKind = "sms_failed"
	CaseFeeDifference      CaseKind = "fee_difference"
	CaseLost               CaseKind = "lost"

	CaseWebhookDisabled CaseKind = "webhook_disabled" // about a subscriber's endpoint, not about a delivery
)
