package devidp

import (
	"fmt"
	"slices"
)

// logoutMetadata is Back-Channel Logout 1.0, 2.1, Front-Channel Logout 1.0, 3, and what
// signing UserInfo adds to discovery.
func logoutMetadata() map[string]any {
	return map[string]any{
		"backchannel_logout_supported":          true,
		"backchannel_logout_session_supported":  true,
		"frontchannel_logout_supported":         true,
		"frontchannel_logout_session_supported": true,
		"userinfo_signing_alg_values_supported": algorithms(),
	}
}

func (c Client) checkAlgorithms() error {
	for _, alg := range []string{c.IDTokenAlg, c.UserInfoAlg} {
		if alg != "" && !slices.Contains(algorithms(), alg) {
			return fmt.Errorf("client %q wants the algorithm %q, which is unknown here", c.ID, alg)
		}
	}
	return nil
}
