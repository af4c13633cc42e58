// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestQueryError(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err         error
		unsupported bool
		want        string
	}{
		{unix.EPROTONOSUPPORT, true, ErrUnsupported.Error() + ": protocol not supported"},
		{unix.EAFNOSUPPORT, true, ErrUnsupported.Error() + ": address family not supported by protocol"},
		{unix.EOPNOTSUPP, true, ErrUnsupported.Error() + ": operation not supported"},
		{unix.EINVAL, true, ErrUnsupported.Error() + ": invalid argument"},
		{unix.EPERM, false, "reading nftables needs the capability CAP_NET_ADMIN: operation not permitted"},
		{unix.ENOMEM, false, "reading nftables: cannot allocate memory"},
		{errMalformed, false, "reading nftables: the kernel's reply is malformed"},
		{ErrBusy, false, "reading nftables: " + ErrBusy.Error()},
	} {
		err := queryError(test.err)
		if !errors.Is(err, test.err) || errors.Is(err, ErrUnsupported) != test.unsupported || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	if err := queryError(nil); err != nil {
		t.Errorf("got %v", err)
	}
}
