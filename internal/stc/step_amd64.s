#include "textflag.h"

// Places of the bytes of eight words; exclusive or with twice the lowest three bits of a column exchanges the words.
DATA places<>+0(SB)/8, $0x0706050403020100
DATA places<>+8(SB)/8, $0x0f0e0d0c0b0a0908
GLOBL places<>(SB), RODATA|NOPTR, $16

// func stepAVX2(to, from *uint16, ways *uint32, column uint32, zero, one uint16)
//
// State s = 16 v + 8 l + k is word k of half l of vector v. So from[s^column] is vector v ^ column>>4, its halves
// exchanged where bit 3 of the column is set, its words exchanged by the lowest three bits.
TEXT ·stepAVX2(SB), NOSPLIT, $0-32
	MOVQ to+0(FP), DI
	MOVQ from+8(FP), SI
	MOVQ ways+16(FP), DX
	MOVL column+24(FP), AX
	VPBROADCASTW zero+28(FP), Y0
	VPBROADCASTW one+30(FP), Y1
	VBROADCASTI128 places<>(SB), Y2
	MOVL AX, BX
	ANDL $7, BX
	SHLL $1, BX
	MOVQ BX, X3
	VPBROADCASTB X3, Y3
	VPXOR Y3, Y2, Y2
	// Bytes from one vector to its partner.
	MOVL AX, R8
	SHRL $4, R8
	SHLL $5, R8
	XORL CX, CX
	TESTL $8, AX
	JNZ  swapped

straight:
	MOVQ CX, R9
	XORQ R8, R9
	VMOVDQU (SI)(R9*1), Y4
	VPSHUFB Y2, Y4, Y4
	VPADDUSW Y1, Y4, Y4
	VMOVDQU (SI)(CX*1), Y5
	VPADDUSW Y0, Y5, Y5
	VPMINUW Y4, Y5, Y6
	VMOVDQU Y6, (DI)(CX*1)
	VPCMPEQW Y5, Y6, Y6
	LEAQ 32(CX), R10
	MOVQ R10, R9
	XORQ R8, R9
	VMOVDQU (SI)(R9*1), Y4
	VPSHUFB Y2, Y4, Y4
	VPADDUSW Y1, Y4, Y4
	VMOVDQU (SI)(R10*1), Y5
	VPADDUSW Y0, Y5, Y5
	VPMINUW Y4, Y5, Y7
	VMOVDQU Y7, (DI)(R10*1)
	VPCMPEQW Y5, Y7, Y7
	VPACKSSWB Y7, Y6, Y6
	VPERMQ $0xD8, Y6, Y6
	VPMOVMSKB Y6, R11
	NOTL R11
	MOVL R11, (DX)
	ADDQ $4, DX
	ADDQ $64, CX
	CMPQ CX, $2048
	JB   straight
	VZEROUPPER
	RET

swapped:
	MOVQ CX, R9
	XORQ R8, R9
	VPERMQ $0x4E, (SI)(R9*1), Y4
	VPSHUFB Y2, Y4, Y4
	VPADDUSW Y1, Y4, Y4
	VMOVDQU (SI)(CX*1), Y5
	VPADDUSW Y0, Y5, Y5
	VPMINUW Y4, Y5, Y6
	VMOVDQU Y6, (DI)(CX*1)
	VPCMPEQW Y5, Y6, Y6
	LEAQ 32(CX), R10
	MOVQ R10, R9
	XORQ R8, R9
	VPERMQ $0x4E, (SI)(R9*1), Y4
	VPSHUFB Y2, Y4, Y4
	VPADDUSW Y1, Y4, Y4
	VMOVDQU (SI)(R10*1), Y5
	VPADDUSW Y0, Y5, Y5
	VPMINUW Y4, Y5, Y7
	VMOVDQU Y7, (DI)(R10*1)
	VPCMPEQW Y5, Y7, Y7
	VPACKSSWB Y7, Y6, Y6
	VPERMQ $0xD8, Y6, Y6
	VPMOVMSKB Y6, R11
	NOTL R11
	MOVL R11, (DX)
	ADDQ $4, DX
	ADDQ $64, CX
	CMPQ CX, $2048
	JB   swapped
	VZEROUPPER
	RET

// func shiftAVX2(to, from *uint16, bit uint64)
//
// Two vectors of pairs become one of their first or second words.
TEXT ·shiftAVX2(SB), NOSPLIT, $0-24
	MOVQ to+0(FP), DI
	MOVQ from+8(FP), SI
	MOVQ bit+16(FP), AX
	SHLQ $4, AX
	MOVQ AX, X0
	VPCMPEQD Y1, Y1, Y1
	VPSRLD $16, Y1, Y2
	XORL CX, CX

pairs:
	VMOVDQU (SI)(CX*2), Y3
	VMOVDQU 32(SI)(CX*2), Y4
	VPSRLD X0, Y3, Y3
	VPSRLD X0, Y4, Y4
	VPAND Y2, Y3, Y3
	VPAND Y2, Y4, Y4
	VPACKUSDW Y4, Y3, Y3
	VPERMQ $0xD8, Y3, Y3
	VMOVDQU Y3, (DI)(CX*1)
	VMOVDQU Y1, 1024(DI)(CX*1)
	ADDQ $32, CX
	CMPQ CX, $1024
	JB   pairs
	VZEROUPPER
	RET
