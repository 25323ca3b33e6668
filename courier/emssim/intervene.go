package emssim

// InterveneAPI is the code under which this simulator speaks SPEC 5.27; the real one is printed nowhere.
const InterveneAPI = "020099"

// intervene is 改址撤单作废催投再派 (SPEC 5.27, dossier 2.9): readdress, withdraw, void, urge, deliver again. The names of the
// new address are those of its table or those of its sample; either will do here.
func (c *Carrier) intervene(in call) answer {
	f := &fields{m: in.all[0]}
	what, no := f.mustOneOf("identification", "1", "2", "3", "4", "5"), f.must("waybillNo", 20)
	if what == "1" {
		for _, names := range [][2]string{{"receiverProv", "receiverProvinceName"}, {"receiverCity", "receiverCityName"}, {"receiverAddress", "receiverAddr"}} {
			if f.text(names[0], 200) == "" && f.text(names[1], 200) == "" {
				f.fail(names[0], "不能为空")
			}
		}
	}
	if f.fault != "" {
		return refuse(f.fault)
	}
	c.mu.Lock()
	o := c.orders[no]
	now := c.cfg.Now()
	under := o != nil && !o.cancelled && len(c.visible(o, now)) > 0
	ended := false
	if under {
		last := o.scans[len(c.visible(o, now))-1].OpCode
		ended = last == opDelivered || last == opTaken || last == opReturned || last == opLost
	}
	c.mu.Unlock()
	switch {
	case o == nil:
		return refuse("邮件不存在")
	case !under:
		return refuse("邮件尚未收寄")
	case ended:
		return refuse("邮件已妥投或已退回")
	}
	switch what {
	case "1":
		c.AddScan(no, Scan{OpCode: "802"})
	case "2", "3":
		c.AddScan(no, Scan{OpCode: "993"})
		c.SetJourney(no, Journey{Outcome: OutcomeIntercepted})
	}
	return success("成功", "")
}
