package vault

// What the tests see of the inside.
var TooOpen = tooOpen

func Wrap(m MasterKey, id uint32, purpose string, key []byte) []byte {
	return m.wrapKey(id, purpose, key)
}

func Unwrap(m MasterKey, id uint32, purpose string, wrapped []byte) ([]byte, error) {
	return m.unwrapKey(id, purpose, wrapped)
}
