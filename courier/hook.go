package courier

// Points at which a test may stop the process. Between any two of them a crash must leave nothing lost and nothing
// paid twice; the tests end a process with SIGKILL at each.
const (
	PointOrderClaimed         = "order.claimed"          // numbers and attempts are written, not committed
	PointOrderIntentCommitted = "order.intent_committed" // committed, nothing sent
	PointOrderCalled          = "order.called"           // EMS has answered one order, nothing written
	PointOrderOutcomeWritten  = "order.outcome_written"  // committed

	PointReconcileClaimed         = "reconcile.claimed"          // lease committed, nothing asked
	PointReconcileAsked           = "reconcile.asked"            // EMS has said whether it holds the number
	PointReconcileIntentCommitted = "reconcile.intent_committed" // the repetition is committed, nothing sent
	PointReconcileCalled          = "reconcile.called"           // EMS has answered the repetition
	PointReconcileOutcomeWritten  = "reconcile.outcome_written"

	PointCancelIntentCommitted = "cancel.intent_committed"
	PointCancelCalled          = "cancel.called"
	PointCancelOutcomeWritten  = "cancel.outcome_written"

	PointNumbersReserved = "numbers.reserved" // EMS has given numbers, nothing written
	PointLabelFetched    = "label.fetched"    // EMS has given a label, nothing written
)

// OrderPoints lists every point, for tests that walk over them.
var OrderPoints = []string{
	PointOrderClaimed, PointOrderIntentCommitted, PointOrderCalled, PointOrderOutcomeWritten,
	PointReconcileClaimed, PointReconcileAsked, PointReconcileIntentCommitted, PointReconcileCalled, PointReconcileOutcomeWritten,
	PointCancelIntentCommitted, PointCancelCalled, PointCancelOutcomeWritten,
	PointNumbersReserved, PointLabelFetched,
}

func (o *Orderer) at(point string) {
	if o.opts.Hook != nil {
		o.opts.Hook(point)
	}
}
