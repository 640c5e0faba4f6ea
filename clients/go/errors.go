package sealane

import (
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrorDomain is the domain of the google.rpc.ErrorInfo that the service attaches to every error.
const ErrorDomain = "sealane.v1"

const (
	reasonInterrupted = "STREAM_INTERRUPTED"
	reasonNoRegion    = "NO_ELIGIBLE_REGION"
)

// Violation is one unusable field of a request.
type Violation struct {
	// Field is its path as in the proto files, such as messages[2].content[0].text.
	Field string
	// Description says what is wrong with it.
	Description string
}

// ReasonOf is the stable word for the cause, such as ALL_REGIONS_UNAVAILABLE; empty if the service never answered.
func ReasonOf(err error) string { return infoOf(err).GetReason() }

// MetadataOf is every value that the error's message mentions, by name.
func MetadataOf(err error) map[string]string { return infoOf(err).GetMetadata() }

// RegionOf is the Azure region that served or failed last; empty if the error names none.
func RegionOf(err error) string {
	metadata := infoOf(err).GetMetadata()
	if region := metadata["servedRegion"]; region != "" {
		return region
	}
	return metadata["lastRegion"]
}

// RetryDelayOf is how long to wait before another try, as the service advises; false if it advises nothing.
func RetryDelayOf(err error) (time.Duration, bool) {
	for _, detail := range detailsOf(err) {
		if retry, ok := detail.(*errdetails.RetryInfo); ok && retry.GetRetryDelay() != nil {
			return retry.GetRetryDelay().AsDuration(), true
		}
	}
	return 0, false
}

// ViolationsOf is the unusable fields of an invalid request.
func ViolationsOf(err error) []Violation {
	var violations []Violation
	for _, detail := range detailsOf(err) {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, one := range bad.GetFieldViolations() {
				violations = append(violations, Violation{Field: one.GetField(), Description: one.GetDescription()})
			}
		}
	}
	return violations
}

// IsInvalidRequest: the request can never succeed as it is. Correct it; ViolationsOf names the fields.
func IsInvalidRequest(err error) bool { return status.Code(err) == codes.InvalidArgument }

// IsNotFound: the service does not know this model or region. Correct the name.
func IsNotFound(err error) bool { return status.Code(err) == codes.NotFound }

// IsNoEligibleRegion: policy and request together leave no region for this call. Widen the request or the policy.
func IsNoEligibleRegion(err error) bool { return ReasonOf(err) == reasonNoRegion }

// IsThrottled: a quota is used up. Wait for RetryDelayOf.
func IsThrottled(err error) bool {
	return status.Code(err) == codes.ResourceExhausted && !IsTooLarge(err)
}

// IsTooLarge: the request or the reply is larger than a message may be. Send, or ask for, less in one call.
func IsTooLarge(err error) bool {
	if status.Code(err) != codes.ResourceExhausted {
		return false
	}
	switch ReasonOf(err) {
	case "REQUEST_TOO_LARGE", "RESPONSE_TOO_LARGE":
		return true
	case "": // gRPC's own limit in this process
		return strings.Contains(status.Convert(err).Message(), "larger than max")
	}
	return false
}

// IsUnavailable: neither a region nor perhaps the service itself could be reached. Try again after RetryDelayOf.
func IsUnavailable(err error) bool { return status.Code(err) == codes.Unavailable }

// IsStreamInterrupted: a streamed answer was cut. What has arrived is not whole: discard it, or ask again.
func IsStreamInterrupted(err error) bool { return ReasonOf(err) == reasonInterrupted }

// IsDeadlineExceeded: the call took longer than its context allowed. Whether a region did the work is unknown.
func IsDeadlineExceeded(err error) bool { return status.Code(err) == codes.DeadlineExceeded }

// interrupted is the error of a stream that was cut by something else than a status of the service.
func interrupted(message, region string) error {
	info := &errdetails.ErrorInfo{Reason: reasonInterrupted, Domain: ErrorDomain}
	if region != "" {
		info.Metadata = map[string]string{"servedRegion": region}
	}
	failure := status.New(codes.Unavailable, message)
	if detailed, err := failure.WithDetails(info); err == nil {
		failure = detailed
	}
	return failure.Err()
}

func infoOf(err error) *errdetails.ErrorInfo {
	for _, detail := range detailsOf(err) {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == ErrorDomain {
			return info
		}
	}
	return nil
}

func detailsOf(err error) []any {
	if said, ok := status.FromError(err); ok {
		return said.Details()
	}
	return nil
}
