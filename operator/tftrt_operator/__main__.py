"""`python -m tftrt_operator` runs the operator."""


def main() -> None:
    """Start the operator."""


if __name__ == "__main__":
    main()
