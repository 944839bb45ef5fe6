"""The payment and the notification service, over HTTP."""
