package a

func leak() error {
	link, err := makeLink()
	defer func() {
		if err != nil { // found
			link.Delete()
		}
	}()
	return other()
}

func literal() {
	_ = func() error {
		var retErr error
		defer func() {
			if nothing() || retErr == nil { // found
				commit()
			}
		}()
		return nil
	}
}

func named() (err error) {
	defer func() {
		if err != nil {
			rollback()
		}
	}()
	return other()
}

func own() {
	defer func() {
		if err := file.Close(); err != nil {
			report(err)
		}
	}()
	defer func(err error) {
		if err != nil {
			report(err)
		}
	}(nil)
	defer stack.Rollback()
}
