"""The API `tftrt.dev/v1alpha1`: TRTModel as typed, frozen values, and the CRD that is written from them."""

GROUP = "tftrt.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "TRTModel"
PLURAL = "trtmodels"
